// Runs one SSE client of npm: `node clients.mjs NAME URL`. Prints each event that the client hands to its application,
// one JSON array a line: type, id, data. "again" is printed whenever we, not the client, had to begin anew.

const [name, url] = process.argv.slice(2);
const TYPES = [
  "message", "test.happened", "connection.established", "connection.deferred", "connection.closed", "heartbeat.sent",
  "history.truncated", "gateway.drain-started",
];

// Two of them are written for browsers only.
globalThis.window = globalThis;
globalThis.addEventListener ??= () => {};
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };

const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const heard = (type, id, data) => say([type ?? "message", id ?? "", data ?? ""]);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function listen(source) {
  for (const type of TYPES) source.addEventListener(type, (event) => heard(event.type, event.lastEventId, event.data));
}

// For what reads one answer and leaves the rest to its user: asks again, with the last id.
async function loop(read) {
  let last = "";
  for (;;) {
    try {
      const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
      const answer = await fetch(url, { headers });
      for await (const event of read(answer)) {
        last = event.id ?? last;
        heard(event.event, last, event.data);
      }
    } catch {
      // the service is away
    }
    say("again");
    await pause(100);
  }
}

const CLIENTS = {
  async eventsource() {
    const { EventSource } = await import("eventsource");
    listen(new EventSource(url));
  },
  async "event-source-polyfill"() {
    const { default: polyfill } = await import("event-source-polyfill");
    listen(new polyfill.EventSourcePolyfill(url));
  },
  async "reconnecting-eventsource"() {
    const { EventSource } = await import("eventsource");
    const { default: wrapped } = await import("reconnecting-eventsource");
    listen(new (wrapped.default ?? wrapped)(url, { eventSourceClass: EventSource, max_retry_time: 200 }));
  },
  async "extended-eventsource"() {
    const { EventSource } = await import("extended-eventsource");
    listen(new EventSource(url, { retry: 200 }));
  },
  async "launchdarkly-eventsource"() {
    const { EventSource } = (await import("launchdarkly-eventsource")).default;
    const source = new EventSource(url, { initialRetryDelayMillis: 100, maxRetryDelayMillis: 1000, errorFilter: () => true });
    source.onerror = () => {};
    listen(source);
  },
  async "eventsource-client"() {
    const { createEventSource } = await import("eventsource-client");
    createEventSource({ url, onMessage: ({ event, id, data }) => heard(event, id, data) });
  },
  async "@microsoft/fetch-event-source"() {
    const { fetchEventSource } = await import("@microsoft/fetch-event-source");
    await fetchEventSource(url, {
      openWhenHidden: true,
      onmessage: ({ event, id, data }) => heard(event, id, data),
      onclose() {
        throw new Error("come back"); // or it takes the end of a stream for the end of all
      },
      onerror: () => undefined, // come back after the delay that the service named
    });
  },
  async "eventsource-parser"() {
    const { EventSourceParserStream } = await import("eventsource-parser/stream");
    await loop((answer) => answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream()));
  },
  async "fetch-event-stream"() {
    const { events } = await import("fetch-event-stream");
    await loop((answer) => events(answer));
  },
};

await CLIENTS[name]();
