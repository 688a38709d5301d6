<?php
// A Serendipity-job receiver, written from the document alone: it takes the form field "data", checks the headers by the
// document's rule, and answers "success". RECEIVER_DIR holds secrets.json (app key to secret) and gets calls.log.
$dir = getenv('RECEIVER_DIR');
$secrets = json_decode(file_get_contents("$dir/secrets.json"), true);
$key = $_SERVER['HTTP_APP_KEY'] ?? '';
$signed = ($_SERVER['HTTP_TIMESTAMPS'] ?? '') . ($_SERVER['HTTP_NONCE'] ?? '') . ($_SERVER['HTTP_PAYLOAD'] ?? '');
$good = isset($secrets[$key])
    && hash_equals(base64_encode(hash_hmac('sha256', $signed, $secrets[$key])), $_SERVER['HTTP_SIGNATURE'] ?? '')
    && $_SERVER['HTTP_PAYLOAD'] === md5(file_get_contents('php://input'))
    && abs(time() - (int) $_SERVER['HTTP_TIMESTAMPS']) < 300;
$data = $_POST['data'] ?? '';
$content = json_decode($data, true);
file_put_contents("$dir/calls.log", json_encode([
    'at' => microtime(true), 'good' => $good, 'data' => base64_encode($data), 'fields' => array_keys($_POST), 'method' => $_SERVER['REQUEST_METHOD'],
    'retry' => $_SERVER['HTTP_RETRY'] ?? '', 'taskId' => $_SERVER['HTTP_TASK_ID'] ?? '',
]) . "\n", FILE_APPEND | LOCK_EX);
if (!$good) {
    http_response_code(401);
    echo 'bad signature';
    return;
}
$answers = (array) ($content['answers'] ?? ['success']);
$answer = $answers[min((int) $_SERVER['HTTP_RETRY'], count($answers) - 1)];
if ($answer === 'slow') {
    usleep(4500000);
    $answer = 'success';
}
echo $answer;
