/** The way to a Redis, which a test can cut as a network does: nothing comes through, and nobody says so. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface Link {
  port: number;
  cut(): void;
  /** Connections so far. */
  readonly connections: number;
  /** Connections of now, after the first `from`, get nothing any more, and nobody says so; new ones come through. */
  freeze(from: number): void;
  /** Connections from before are lost; new ones come through. */
  mend(): void;
  close(): Promise<void>;
}

export async function openLink(targetPort: number): Promise<Link> {
  const sockets = new Set<Socket>();
  const pairs: (readonly [near: Socket, far: Socket])[] = [];
  let isCut = false;
  const forget = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };
  const server = createServer((near) => {
    forget(near);
    if (isCut) return void near.pause();
    const far = connect(targetPort, '127.0.0.1');
    forget(far);
    pairs.push([near, far]);
    near.pipe(far).pipe(near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const drop = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port,
    cut() {
      isCut = true;
      for (const socket of sockets) socket.unpipe().pause();
    },
    get connections() {
      return pairs.length;
    },
    freeze(from) {
      for (const socket of pairs.slice(from).flat()) socket.unpipe().pause();
    },
    mend() {
      isCut = false;
      drop();
    },
    async close() {
      drop();
      server.close();
      await once(server, 'close');
    },
  };
}
