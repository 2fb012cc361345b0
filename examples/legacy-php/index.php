<?php
// A PHP application without a log-in. In PHP the header X-User-Name is HTTP_X_USER_NAME.
//
// PHP also maps X_User_Name and X.User.Name to that key. So Sidegate removes every spelling that maps to
// one of its headers before it writes its own: the value below is either Sidegate's or absent. Characters
// other than visible ASCII are percent-encoded.
//
// Serve it on loopback only: php -S 127.0.0.1:3000 -t examples/legacy-php

$name = isset($_SERVER['HTTP_X_USER_NAME']) ? rawurldecode($_SERVER['HTTP_X_USER_NAME']) : null;
$roles = isset($_SERVER['HTTP_X_USER_ROLE']) ? explode(',', $_SERVER['HTTP_X_USER_ROLE']) : [];

header('Content-Type: text/html; charset=utf-8');

if ($name === null) {
    echo "<h1>Welcome, stranger</h1>\n";
    return;
}

echo '<h1>Welcome, ' . htmlspecialchars($name, ENT_QUOTES, 'UTF-8') . "</h1>\n";
if (in_array('admin', $roles, true)) {
    echo "<p>You may administer this site.</p>\n";
}
