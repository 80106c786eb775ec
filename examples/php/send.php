<?php
// Sends each line of stdin as a message of an Official Account: php send.php OA_ID USER_ID < lines
const DEAD = [-216, -220, -124]; // so Zalo says that it does not take the access token
[, $oa, $user] = $argv;

/** The access token that zalo-tokend has, with its generation. */
function keeper(string $method, string $path, array $body = []): array {
    global $oa;
    $socket = getenv('ZALO_TOKEND_SOCKET') ?: '/run/zalo-tokend/api.sock';
    $stream = stream_socket_client("unix://$socket", $code, $why, 5) ?: exit("no zalo-tokend: $why\n");
    stream_set_timeout($stream, 120);
    $body = $body ? json_encode($body) : '';
    $head = "$method /v1/oas/$oa/$path HTTP/1.0\r\nHost: localhost\r\nContent-Length: " . strlen($body);
    fwrite($stream, "$head\r\n\r\n$body");
    [$head, $body] = explode("\r\n\r\n", stream_get_contents($stream), 2) + ['', ''];
    $token = json_decode($body, true) ?? exit("zalo-tokend does not answer\n");
    if (!preg_match('/^HTTP\S+ 200 /', $head)) exit("{$token['detail']}\n");
    return $token + ['until' => hrtime(true) / 1e9 + $token['expires_in']];
}

function send(array $token, string $text): array {
    global $user;
    $message = ['recipient' => ['user_id' => $user], 'message' => ['text' => $text]];
    $header = "access_token: {$token['access_token']}\r\nContent-Type: application/json";
    $http = ['method' => 'POST', 'header' => $header, 'content' => json_encode($message), 'timeout' => 30];
    $zalo = getenv('ZALO_API') ?: 'https://openapi.zalo.me';
    return json_decode(file_get_contents("$zalo/v3.0/oa/message/cs", false, stream_context_create(['http' => $http])), true);
}

$token = keeper('GET', 'token');
while (($line = fgets(STDIN)) !== false) {
    if (hrtime(true) / 1e9 > $token['until']) $token = keeper('GET', 'token');
    $answer = send($token, trim($line));
    if (in_array($answer['error'], DEAD)) {
        $token = keeper('POST', 'token/reject', ['generation' => $token['generation'], 'error' => $answer['error']]);
        $answer = send($token, trim($line));
    }
    echo $answer['error'] === 0 ? "sent\n" : "not sent: {$answer['message']}\n";
}
