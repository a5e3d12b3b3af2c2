/**
 * The master's door to orchestrators and Prometheus: three pages, all of them from memory, so that no child and no
 * Redis can keep an answer waiting. Who is slow to ask or to read is hung up on, and where there are too many, the one that has
 * been silent for longest: connections that ask nothing, by mistake or on purpose, keep no probe out.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { usageError } from '../errors.js';

export interface Page {
  status: 200 | 503;
  type: string;
  text: string;
}

export type Pages = Readonly<Record<string, () => Page | Promise<Page>>>;

const MAX_CONNECTIONS = 100;
const REQUEST_WITHIN_MS = 5_000;
/** Node's own is 30 s: so long would it take to see that those 5 s are over. */
const LOOK_EVERY_MS = 1_000;
const MAX_HEADER_BYTES = 8_192;

export interface OpenServer {
  /** The one it has got. */
  port: number;
  close(): Promise<void>;
}

/** Resolves when it listens. @throws SwarmError with exit code 64 */
export async function serve(
  pages: Pages,
  { port, host }: { port: number; host: string },
): Promise<OpenServer> {
  const limits = { maxHeaderSize: MAX_HEADER_BYTES, connectionsCheckingInterval: LOOK_EVERY_MS };
  const open = new OpenSockets();
  const server = createServer(limits, (request, response) => {
    open.heard(request.socket);
    void answer(pages, request, response);
  });
  server.on('connection', (socket) => open.add(socket));
  server.requestTimeout = REQUEST_WITHIN_MS;
  server.headersTimeout = REQUEST_WITHIN_MS;
  server.setTimeout(2 * REQUEST_WITHIN_MS);
  server.on('clientError', (_, socket) => socket.destroy());
  await listen(server, port, host);
  // EMFILE and the like: whoever asks next finds it open again
  server.on('error', () => {});
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Those that were heard of last come last. */
class OpenSockets {
  readonly #sockets = new Set<Socket>();

  add(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    const [silent] = this.#sockets;
    if (this.#sockets.size > MAX_CONNECTIONS) silent?.destroy();
  }

  heard(socket: Socket): void {
    if (this.#sockets.delete(socket)) this.#sockets.add(socket);
  }
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const why: Record<string, string> = {
      EADDRINUSE: 'another process has it: choose another port, or stop that one',
      EADDRNOTAVAIL: `${host} is no address of this machine: --host takes one, or 0.0.0.0 for all`,
      EACCES: 'ports below 1024 are for root: choose one above',
      ENOTFOUND: `the name ${host} is not known: --host takes an address`,
    };
    throw usageError(
      'SWARM_PORT_UNUSABLE',
      `--port ${port} cannot be listened on at ${host}: ${why[code] ?? message} (${code})`,
      error,
    );
  }
}

async function answer(pages: Pages, request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.resume();
  const path = (request.url ?? '').replace(/[?#].*$/s, '');
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    return send(response, 405, 'text/plain; charset=utf-8', 'only GET and HEAD\n', true);
  }
  const hasBody = request.method === 'GET';
  if (!page) {
    const known = `${Object.keys(pages).join('\n')}\n`;
    return send(response, 404, 'text/plain; charset=utf-8', known, hasBody);
  }
  try {
    const { status, type, text } = await page();
    send(response, status, type, text, hasBody);
  } catch (error) {
    send(response, 500, 'text/plain; charset=utf-8', `${(error as Error).message}\n`, hasBody);
  }
}

function send(response: ServerResponse, status: number, type: string, text: string, hasBody: boolean): void {
  const headers = {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store',
  };
  response.writeHead(status, headers);
  response.end(hasBody ? text : undefined);
}
