/**
 * Calls of BullMQ's two scripts that every job needs, encoded in a third of the time. ioredis encodes each argument of each
 * call from scratch, and in many small writes to a buffer as soon as one argument is binary; of the twenty-odd of these
 * scripts all but five are the same from job to job.
 *
 * It stands between BullMQ and ioredis, by public methods of ioredis alone (`defineCommand`, `sendCommand`, `Command`): what
 * is called in an unexpected way, or while Redis may not have the script, is ioredis's own.
 */
import { createHash } from 'node:crypto';
import { Command, type Redis } from '../redis/ioredis.js';

/** What BullMQ calls them, before a colon and its version. */
const ENCODED: readonly string[] = ['moveToFinished', 'moveToActive'];

type Call = (...args: unknown[]) => Promise<unknown>;
/** As long as it is not known how many keys a script has, it is the first argument. */
interface ScriptDefinition {
  lua: string;
  numberOfKeys?: number;
  readOnly?: boolean;
}

class EncodedCommand extends Command {
  readonly #encoded: Buffer;

  constructor(sha: string, encoded: Buffer) {
    super('evalsha', [sha], { replyEncoding: 'utf8' });
    this.#encoded = encoded;
  }

  override toWritable(): Buffer {
    return this.#encoded;
  }
}

/** From now on; before BullMQ gets the connection. */
export function encodeScripts(client: Redis): void {
  const define = client.defineCommand.bind(client);
  const commands = client as unknown as Record<string, Call>;
  client.defineCommand = (name: string, definition: ScriptDefinition) => {
    define(name, definition);
    const original = commands[name];
    const { lua, numberOfKeys } = definition;
    if (!original || numberOfKeys === undefined || !ENCODED.includes(name.split(':')[0] as string)) return;
    commands[name] = encodedCall(client, original.bind(client), lua, numberOfKeys);
  };
}

function encodedCall(client: Redis, original: Call, lua: string, keyCount: number): Call {
  const sha = createHash('sha1').update(lua).digest('hex');
  const head = ['evalsha', sha, keyCount];
  const encoders = new Map<unknown, CallEncoder>();
  /** Connections by which the script was run, so that Redis has it. */
  const known = new WeakSet<object>();
  return (...call) => {
    const { stream } = client;
    const [args] = call;
    if (call.length !== 1 || !Array.isArray(args) || client.status !== 'ready') return original(...call);
    if (!known.has(stream)) {
      const reply = original(...call);
      reply.then(
        () => known.add(stream),
        () => {},
      );
      return reply;
    }
    // its first key is the queue's
    let encoder = encoders.get(args[0]);
    if (!encoder) {
      encoder = new CallEncoder(head);
      encoders.set(args[0], encoder);
    }
    const reply = client.sendCommand(new EncodedCommand(sha, encoder.encode(args))) as Promise<unknown>;
    return reply.catch((error: unknown) => {
      if (!(error instanceof Error && error.message.includes('NOSCRIPT'))) throw error;
      known.delete(stream);
      return original(...call);
    });
  };
}

/** Encodes calls that are much alike. Pure but for what it keeps of the last one. */
export class CallEncoder {
  readonly #head: string;
  readonly #headCount: number;
  #count = -1;
  #start = '';
  #last: unknown[] = [];
  #pieces: string[] = [];

  /** @param head what every call begins with */
  constructor(head: readonly unknown[]) {
    this.#head = head.map(pieceOf).join('');
    this.#headCount = head.length;
  }

  encode(args: readonly unknown[]): Buffer {
    if (args.length !== this.#count) {
      this.#count = args.length;
      this.#start = `*${this.#headCount + args.length}\r\n${this.#head}`;
      this.#last = [];
      this.#pieces = [];
    }
    const parts: (string | Buffer)[] = [];
    let text = this.#start;
    let size = 0;
    for (let at = 0; at < args.length; at += 1) {
      const arg = args[at];
      if (Buffer.isBuffer(arg)) {
        text += `$${arg.length}\r\n`;
        parts.push(text, arg);
        size += 3 * text.length + arg.length;
        text = '\r\n';
      } else text += this.#piece(at, arg);
    }
    parts.push(text);
    return joined(parts, size + 3 * text.length);
  }

  #piece(at: number, arg: unknown): string {
    const known = this.#pieces[at];
    if (known !== undefined && this.#last[at] === arg) return known;
    const piece = pieceOf(arg);
    this.#last[at] = arg;
    this.#pieces[at] = piece;
    return piece;
  }
}

function pieceOf(arg: unknown): string {
  const text = arg === null || arg === undefined ? '' : String(arg);
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

/** @param most bytes at most: three for each UTF-16 unit */
function joined(parts: readonly (string | Buffer)[], most: number): Buffer {
  const result = Buffer.allocUnsafe(most);
  let size = 0;
  for (const part of parts)
    size += typeof part === 'string' ? result.write(part, size) : part.copy(result, size);
  return result.subarray(0, size);
}
