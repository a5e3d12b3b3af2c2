/** A TCP proxy before a Redis that can lose one reply: the command is carried out, and who sent it never hears of it. */

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export interface LossyProxy {
  readonly port: number;
  /** Lost replies so far. */
  readonly lost: number;
  /** Of the next command that looks like this, Redis's reply is dropped and the connection ended. */
  loseReplyTo(command: RegExp): void;
  /** Ends every connection. */
  cut(): void;
}

export async function startLossyProxy(t: TestContext, targetPort: number): Promise<LossyProxy> {
  const sockets = new Set<Socket>();
  let wanted: RegExp | null = null;
  let lost = 0;
  const server = createServer((client) => {
    const redis = connect(targetPort, '127.0.0.1');
    let dropsReply = false;
    for (const [socket, other] of [
      [client, redis],
      [redis, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (chunk) => {
      if (wanted?.test(chunk.toString('latin1'))) {
        wanted = null;
        dropsReply = true;
      }
      redis.write(chunk);
    });
    redis.on('data', (chunk) => {
      if (!dropsReply) return void client.write(chunk);
      lost += 1;
      client.destroy();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  t.after(() => {
    server.close();
    cut();
  });
  return {
    port: (server.address() as { port: number }).port,
    get lost() {
      return lost;
    },
    loseReplyTo(command) {
      wanted = command;
    },
    cut,
  };
}
