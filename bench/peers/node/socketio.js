// socket.io with its defaults: everyone is on one namespace, over WebSockets without compression.
"use strict";
const http = require("node:http");
const { Server } = require("socket.io");

const server = http.createServer((request, response) => {
  let body = "";
  request.setEncoding("utf8");
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    response.writeHead(201, { "Content-Length": 0 }).end();
    io.emit("bench.ticked", JSON.parse(body));
  });
});
const io = new Server(server, { transports: ["websocket"] });

server.keepAliveTimeout = 300_000;
server.listen(Number(process.argv[2]), "127.0.0.1", 4096);
