"""The HTTP interface of ClickHouse over the engine of the Python package chdb, for tests.

The engine is ClickHouse's own; only the interface is made here: a statement is the query parameter
and the body, other parameters are settings, and the number of an error is in a header.

usage: clickhouse_server.py PORT FOLDER [PASSWORD]
"""

import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session

PASSWORD = sys.argv[3] if len(sys.argv) > 3 else ""
SESSION = Session(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        if PASSWORD and self.headers.get("x-clickhouse-key") != PASSWORD:
            return self.answer(403, "Code: 516. DB::Exception: Authentication failed")
        statement = ""
        for name, value in parse_qsl(urlsplit(self.path).query):
            if name == "query":
                statement = value + "\n"
            # The interface's own settings mean nothing to the engine.
            elif name not in ("wait_end_of_query", "database"):
                SESSION.query(f"SET {name} = '{value}'")
        try:
            result = SESSION.query(statement + body, "TabSeparated")
            self.answer(200, result.bytes().decode() if result else "")
        except Exception as why:
            self.answer(500, str(why))
        finally:
            SESSION.query("SET insert_deduplication_token = ''")

    def answer(self, status, text):
        code = re.search(r"Code: (\d+)", text) if status != 200 else None
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code.group(1))
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
