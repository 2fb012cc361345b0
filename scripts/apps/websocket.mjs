// A WebSocket over HTTP/2 (RFC 8441) with undici, the HTTP client inside Node.js.
//
//   websocket.mjs wss://HOST:PORT/ AUTHORITY-FILE HEADERS-AS-JSON
//
// Prints one line per event: `open`, `message LENGTH`, `close CODE`. A line on the input is sent as a message
// of that many bytes. Ends when the WebSocket closes.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Agent, WebSocket } from 'undici';

const [url, ca, headers] = process.argv.slice(2);
const dispatcher = new Agent({ allowH2: true, connect: { ca: readFileSync(ca) } });
const socket = new WebSocket(url, { dispatcher, headers: JSON.parse(headers) });
socket.binaryType = 'arraybuffer';
socket.onopen = () => console.log('open');
socket.onmessage = ({ data }) => console.log(`message ${data.byteLength}`);
socket.onerror = () => {};
socket.onclose = ({ code }) => {
  console.log(`close ${code}`);
  process.exit(0);
};
createInterface({ input: process.stdin }).on('line', (line) => socket.send(new Uint8Array(Number(line))));
