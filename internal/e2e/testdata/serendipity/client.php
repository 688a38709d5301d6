<?php
// A Serendipity-job client, written from the document alone, as a PHP shop has it. Usage: client.php BASE CREDENTIALS COMMAND JSON
// where CREDENTIALS is the JSON that creating the application answered as data, and JSON holds the parameters. It prints the
// HTTP status, a space, and the answer. Commands: application/create, task/create, …: the URI. Before a command, "token:" sends
// the headers that creating the application answered instead of fresh ones, "get:" sends the parameters in the query, "form:" a
// form, and "bad:" spoils the signature.

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
    return explode(' ', $http_response_header[0])[1] . ' ' . $answer;
}

[, $base, $credentials, $command, $json] = $argv;
$app = json_decode($credentials, true);
$params = json_decode($json, true, 512, JSON_THROW_ON_ERROR);
$modes = explode(':', $command);
$uri = '/' . array_pop($modes);
$method = in_array('get', $modes) ? 'GET' : 'POST';
if (isset($params['inSeconds'])) {
    date_default_timezone_set('Asia/Shanghai');
    $params['runtime'] = date('Y-m-d H:i:s', time() + $params['inSeconds']);
    unset($params['inSeconds']);
}
$headers = [];
$body = '';
if ($method === 'GET') {
    $uri .= '?' . http_build_query($params);
} elseif (in_array('form', $modes)) {
    $headers['Content-Type'] = 'application/x-www-form-urlencoded';
    $body = http_build_query($params);
} else {
    $headers['Content-Type'] = 'application/json';
    $body = json_encode($params, JSON_UNESCAPED_UNICODE);
}
if ($app) {
    $nonce = bin2hex(random_bytes(8));
    $timestamps = (string) time();
    $payload = md5($body);
    $signature = base64_encode(hash_hmac('sha256', $timestamps . $nonce . $payload, $app['secretKey']));
    if (in_array('token', $modes)) {
        ['nonce' => $nonce, 'timestamps' => $timestamps, 'payload' => $payload, 'signature' => $signature] = $app;
    }
    if (in_array('bad', $modes)) {
        $signature = strrev($signature);
    }
    $headers += ['app_key' => $app['appKey'], 'nonce' => $nonce, 'timestamps' => $timestamps, 'payload' => $payload, 'signature' => $signature];
}
echo request($base . $uri, $method, $headers, $body);
