/**
 * What input and output has begun and not ended, from Node's diagnostics channels: a job that waits for an
 * answer that never comes has no stack, but it has this. Less than a microsecond a request.
 *
 * URLs are kept without query and without credentials: secrets are there.
 */

import type { ChildProcess } from 'node:child_process';
import { subscribe } from 'node:diagnostics_channel';
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { PendingIo } from '../dump.js';
import type { JobRef } from '../protocol.js';

/** Beyond that, nobody reads the list; newer ones are not kept. */
const MAX_KEPT = 1_000;
const MAX_LISTED = 50;
const MAX_TEXT = 300;
const LOOKS_UP = 'looking up the name';

export interface StartedFor {
  pid: number;
  job: JobRef;
}

interface Started {
  type: 'fetch' | 'http' | 'socket';
  what: string;
  atMs: number;
  job: JobRef | null;
  phase: string;
  socket: Socket | null;
}

/** What `undici:request:*` tells of a request. */
interface UndiciRequest {
  origin?: unknown;
  path?: unknown;
  method?: unknown;
}

export class IoWatch {
  readonly #started = new Map<object, Started>();
  /** Processes of which it is known who started them. */
  readonly #processes = new Map<ChildProcess, JobRef>();
  readonly #currentJob: () => JobRef | null;

  /** @param currentJob whose code runs now */
  constructor(currentJob: () => JobRef | null) {
    this.#currentJob = currentJob;
  }

  listen(): void {
    this.#onUndici('create', ({ request }) => this.#begin(request, 'fetch', undiciText(request), 'queued'));
    this.#onUndici('headers', ({ request }) => this.#advance(request, 'reading the body'));
    this.#onUndici('trailers', ({ request }) => this.#end(request));
    this.#onUndici('error', ({ request }) => this.#end(request));
    subscribe('undici:client:sendHeaders', (message) => {
      const { request, socket } = message as { request: object; socket?: Socket };
      this.#advance(request, 'sent, no answer yet', socket);
    });
    subscribe('http.client.request.start', (message) => {
      const { request } = message as { request: ClientRequest };
      this.#begin(request, 'http', httpText(request), 'sent, no answer yet');
      request.once('close', () => this.#end(request));
    });
    subscribe('net.client.socket', (message) => {
      const { socket } = message as { socket: Socket };
      this.#begin(socket, 'socket', '', LOOKS_UP);
      socket.once('lookup', () => this.#advance(socket, 'connecting'));
      socket.once('close', () => this.#end(socket));
    });
    subscribe('child_process', (message) => {
      const { process: started } = message as { process: ChildProcess };
      const job = this.#currentJob();
      if (!job || this.#processes.size >= MAX_KEPT) return;
      this.#processes.set(started, { queue: job.queue, id: job.id });
      started.once('exit', () => this.#processes.delete(started));
      // what could not be started closes without an exit
      started.once('close', () => this.#processes.delete(started));
    });
  }

  /** Who started which processes. */
  started(): StartedFor[] {
    return [...this.#processes].flatMap(([{ pid }, job]) => (pid === undefined ? [] : [{ pid, job }]));
  }

  /** Those that say most first: requests, then what connects, then open sockets, each the oldest first. */
  list(): PendingIo[] {
    const nowMs = performance.now();
    const kept = [...this.#started].map(([key, started]) => ({
      key,
      started,
      socket: socketOf(key, started),
    }));
    const inRequests = new Set(
      kept.flatMap(({ started, socket }) => (started.type === 'socket' ? [] : [socket])),
    );
    const own = kept
      .filter(({ started, socket }) => started.type !== 'socket' || !inRequests.has(socket))
      .map(({ key, started, socket }): PendingIo => {
        const { type, what, atMs, job } = started;
        return {
          type,
          what: what === '' ? hostOf(socket) : what,
          peer: peerOf(socket),
          phase: phaseOf(key, started, socket),
          ageMs: Math.round(nowMs - atMs),
          job: job && { queue: job.queue, id: job.id },
        };
      });
    nameAddresses(own);
    const lookups = lookupsOf(own);
    const rank = ({ type, phase }: PendingIo): number => (type !== 'socket' ? 0 : phase === 'open' ? 2 : 1);
    return [...own, ...lookups].sort((a, b) => rank(a) - rank(b)).slice(0, MAX_LISTED);
  }

  #onUndici(event: string, listen: (message: { request: object }) => void): void {
    subscribe(`undici:request:${event}`, (message) => listen(message as { request: object }));
  }

  #begin(key: object, type: Started['type'], what: string, phase: string): void {
    if (this.#started.size >= MAX_KEPT) return;
    const job = this.#currentJob();
    this.#started.set(key, { type, what, atMs: performance.now(), job, phase, socket: null });
  }

  #advance(key: object, phase: string, socket?: Socket): void {
    const started = this.#started.get(key);
    if (!started) return;
    started.phase = phase;
    if (socket) started.socket = socket;
  }

  #end(key: object): void {
    this.#started.delete(key);
  }
}

function undiciText({ method, origin, path }: UndiciRequest): string {
  return `${String(method ?? '')} ${redact(`${String(origin ?? '')}${String(path ?? '')}`)}`.trim();
}

function httpText(request: ClientRequest): string {
  const host = request.getHeader('host') ?? request.host;
  return `${request.method} ${redact(`${request.protocol}//${String(host)}${request.path}`)}`;
}

/** Without credentials and query. */
export function redact(url: string): string {
  const [path = '', query] = url.split(/\?(.*)/s);
  const clean = path.replace(/^([a-z+.-]+:\/\/)[^/@]*@/i, '$1');
  return `${clean.slice(0, MAX_TEXT)}${query === undefined ? '' : '?…'}`;
}

function socketOf(key: object, { type, socket }: Started): Socket | null {
  if (type === 'socket') return key as Socket;
  return type === 'http' ? (key as ClientRequest).socket : socket;
}

function phaseOf(key: object, { type, phase }: Started, socket: Socket | null): string {
  // one that is given an address has no name to look up
  if (type === 'socket' && socket?.connecting) return hostOf(socket) === '' ? 'connecting' : phase;
  if (socket?.connecting) return 'connecting';
  if (socket && (socket as { secureConnecting?: boolean }).secureConnecting) return 'TLS handshake';
  if (type === 'socket') return 'open';
  if (type !== 'http') return phase === 'queued' && socket === null ? 'no connection yet' : phase;
  const request = key as ClientRequest & { res?: IncomingMessage | null };
  if (!socket) return 'no connection yet';
  if (request.res) return 'reading the body';
  return request.writableFinished ? 'sent, no answer yet' : 'sending';
}

/** Node's own field: the name that was asked for. */
function hostOf(socket: Socket | null): string {
  const host = (socket as { _host?: unknown } | null)?._host;
  return typeof host === 'string' ? host.slice(0, MAX_TEXT) : '';
}

function peerOf(socket: Socket | null): string | null {
  if (!socket?.remoteAddress) return null;
  const { remoteAddress, remotePort, bytesRead, bytesWritten } = socket;
  return `${remoteAddress}:${remotePort} (${bytesRead} bytes in, ${bytesWritten} out)`;
}

interface Internals {
  /** Deprecated in the documentation alone; the only list of what the kernel and the thread pool were asked for. */
  _getActiveRequests?(): unknown[];
}

function activeRequests(): { hostname?: unknown; address?: unknown; port?: unknown }[] {
  const requests = (process as Internals)._getActiveRequests?.() ?? [];
  return requests.map((request) => (request ?? {}) as object);
}

/** A socket that connects says to which name, but not to which address; the requests to connect do, in the same order. */
function nameAddresses(own: PendingIo[]): void {
  const connecting = own.filter(({ type, phase }) => type === 'socket' && phase === 'connecting');
  const addresses = activeRequests().flatMap(({ address, port }) =>
    typeof address === 'string' ? [typeof port === 'number' ? `${address}:${port}` : address] : [],
  );
  if (addresses.length !== connecting.length) return;
  for (const [at, each] of connecting.entries()) {
    const address = addresses[at] ?? '';
    if (each.what === '') each.what = address;
    else each.peer ??= address;
  }
}

/** Names that `dns.lookup` waits for, and that no socket above stands for. */
function lookupsOf(own: readonly PendingIo[]): PendingIo[] {
  const names = activeRequests().flatMap(({ hostname }) =>
    typeof hostname === 'string' ? [hostname.slice(0, MAX_TEXT)] : [],
  );
  return names
    .filter((name) => !own.some(({ what, phase }) => what === name && phase === LOOKS_UP))
    .map((what) => ({ type: 'dns', what, peer: null, phase: LOOKS_UP, ageMs: null, job: null }));
}
