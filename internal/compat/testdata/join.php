<?php
// Joins parameters as PHP programs do before they sign: one JSON array of cases in, one of texts out. A case is
// {"json": text} or {"form": text}; "drop" leaves empty values out.
$out = [];
foreach (json_decode(file_get_contents('php://stdin'), true) as $case) {
    if (isset($case['json'])) {
        $params = json_decode(base64_decode($case['json']), true);
    } else {
        parse_str(base64_decode($case['form'] ?? ''), $params);
    }
    if (!empty($case['drop'])) {
        $params = array_filter($params);
    }
    ksort($params, SORT_STRING);
    $out[] = base64_encode(urldecode(http_build_query($params)));
}
echo json_encode($out);
