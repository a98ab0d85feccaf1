// A plain server of server-sent events, as Node's own documentation would have it: one write to each response.
"use strict";
const http = require("node:http");

const responses = new Set();

function publish(body) {
  const frame = `data: ${body}\n\n`;
  for (const response of responses) response.write(frame);
}

const server = http.createServer((request, response) => {
  if (request.method === "POST") {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      response.writeHead(201, { "Content-Length": 0 }).end();
      publish(body);
    });
    return;
  }
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  response.write(": hello\n\n");
  responses.add(response);
  request.on("close", () => responses.delete(response));
});

server.keepAliveTimeout = 300_000;
server.listen(Number(process.argv[2]), "127.0.0.1", 4096);
