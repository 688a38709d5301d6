<?php
// A GoodJob receiver, written from the document alone: it takes the form field "data", checks the signature in the headers,
// and answers "success". $_SERVER does not tell app_key from app-key. RECEIVER_DIR holds secrets.json (app key to secret) and
// gets calls.log; RECEIVER_STYLE says how this shop spells the names that it signs.
date_default_timezone_set('Asia/Shanghai');
$dir = getenv('RECEIVER_DIR');

function checked(string $secret): bool
{
    $separator = getenv('RECEIVER_STYLE') === 'underscore' ? '_' : '-';
    $params = $_POST;
    $params["app{$separator}key"] = $_SERVER['HTTP_APP_KEY'];
    $params["nonce{$separator}str"] = $_SERVER['HTTP_NONCE_STR'];
    $params['timestamp'] = $_SERVER['HTTP_TIMESTAMP'];
    $params['version'] = $_SERVER['HTTP_VERSION'];
    ksort($params);
    $signature = md5(urldecode(http_build_query($params)) . $secret);
    return hash_equals($signature, $_SERVER['HTTP_SIGNATURE']) && abs(time() - strtotime($_SERVER['HTTP_TIMESTAMP'])) < 300;
}

$secrets = json_decode(file_get_contents("$dir/secrets.json"), true);
$key = $_SERVER['HTTP_APP_KEY'] ?? '';
$good = isset($secrets[$key]) && checked($secrets[$key]);
$data = $_POST['data'] ?? '';
$content = json_decode($data, true);
file_put_contents("$dir/calls.log", json_encode([
    'at' => microtime(true), 'good' => $good, 'data' => base64_encode($data), 'fields' => array_keys($_POST), 'method' => $_SERVER['REQUEST_METHOD'],
    'type' => $_SERVER['CONTENT_TYPE'] ?? '', 'headers' => array_map('strtolower', array_keys(getallheaders())), 'retry' => $_SERVER['HTTP_RETRY'] ?? '',
]) . "\n", FILE_APPEND | LOCK_EX);
if (!$good) {
    http_response_code(401);
    echo 'bad signature';
    return;
}
$answers = (array) ($content['answers'] ?? ['success']);
$answer = $answers[min((int) $_SERVER['HTTP_RETRY'], count($answers) - 1)];
if ($answer === 'slow once') {
    $mark = "$dir/" . md5($data);
    if (!file_exists($mark)) {
        touch($mark);
        sleep(8);
    }
    $answer = 'success';
}
switch ($answer) {
    case 'slow':
        for ($i = 0; $i < 300; $i++) { // a closed connection ends the script at the next output
            usleep(100000);
            echo ' ';
            flush();
        }
        echo 'success';
        break;
    case '500':
        http_response_code(500);
        echo 'Fatal error';
        break;
    default:
        echo $answer;
}
