<?php
// A GoodJob client, written from the document alone, as a PHP shop has it. Usage: client.php BASE APP_KEY SECRET COMMAND JSON
// where JSON holds the parameters. It prints the answer. Commands: application, create, abort, retry, detail; "json:" before
// a command sends JSON, "get:" sends the parameters in the query, "nonce=…:" uses that random string, "at=…:" has a clock that is
// so many seconds ahead.
date_default_timezone_set('Asia/Shanghai');

function sign(array $params, array $headers, string $secret): string
{
    $all = array_merge($params, $headers);
    ksort($all);
    return md5(urldecode(http_build_query($all)) . $secret);
}

function request(string $url, string $method, array $headers, string $body): string
{
    $lines = [];
    foreach ($headers as $name => $value) {
        $lines[] = "$name: $value";
    }
    $context = stream_context_create(['http' => [
        'method' => $method, 'header' => implode("\r\n", $lines), 'content' => $body, 'timeout' => 30, 'ignore_errors' => true,
    ]]);
    $answer = file_get_contents($url, false, $context);
    if ($answer === false) {
        fwrite(STDERR, "no answer from $url\n");
        exit(1);
    }
    return $answer;
}

[, $base, $appKey, $secret, $command, $json] = $argv;
$params = json_decode($json, true, 512, JSON_THROW_ON_ERROR);
$type = 'application/x-www-form-urlencoded';
$method = 'POST';
$nonce = substr(str_shuffle('abcdefghijklmnopqrstuvwxyz0123456789'), 0, 12);
$time = time();
while (preg_match('/^(json|get|nonce=([^:]+)|at=(-?\d+)):(.*)$/', $command, $m)) {
    $command = $m[4];
    if ($m[1] === 'json') {
        $type = 'application/json';
    } elseif ($m[1] === 'get') {
        $method = 'GET';
    } elseif ($m[3] !== '') {
        $time += (int) $m[3];
    } else {
        $nonce = $m[2];
    }
}
if (isset($params['inSeconds'])) {
    $params['runtime'] = date('Y-m-d H:i:s', time() + $params['inSeconds']);
    unset($params['inSeconds']);
}

$uri = $command === 'application' ? '/application' : "/task/$command";
$headers = [];
if ($command !== 'application') {
    $headers = ['app_key' => $appKey, 'nonce_str' => $nonce, 'timestamp' => date('Y-m-d H:i:s', $time), 'version' => '1.0'];
    $headers['signature'] = sign($params, $headers, $secret);
}
$body = '';
if ($method === 'GET') {
    $uri .= '?' . http_build_query($params);
} elseif ($type === 'application/json') {
    $body = json_encode($params);
    $headers['Content-Type'] = $type;
} else {
    $body = http_build_query($params);
    $headers['Content-Type'] = $type;
}
echo request($base . $uri, $method, $headers, $body);
