"""Run with: python3 -m unittest discover examples/legacy-python"""

import json
import threading
import unittest
import urllib.request

from app import serve


class LegacyApp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = serve(0)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.base = f"http://127.0.0.1:{cls.server.server_address[1]}"

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()

    def get(self, path, **headers):
        request = urllib.request.Request(self.base + path, headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode()

    def test_it_greets_by_the_header_and_shows_the_roles(self):
        page = self.get("/", **{"X-User-Name": "ann", "X-User-Role": "user,admin"})
        self.assertIn("Welcome, ann", page)
        self.assertIn("Your roles: user,admin", page)

    def test_without_headers_it_greets_a_stranger(self):
        self.assertIn("Welcome, stranger", self.get("/"))

    def test_a_name_beyond_ascii_arrives_encoded_and_is_shown_safely(self):
        page = self.get("/", **{"X-User-Name": "%C3%A9%3Cb%3E"})
        self.assertIn("Welcome, \u00e9&lt;b&gt;", page)

    def test_headers_are_echoed(self):
        echoed = {name.lower(): value for name, value in json.loads(self.get("/headers", **{"X-A": "1"}))}
        self.assertEqual(echoed["x-a"], "1")


if __name__ == "__main__":
    unittest.main()
