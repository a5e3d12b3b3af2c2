/** The child's end of the IPC channel. It never keeps the app alive: the loop of a finished program may end. */
import { type ChildMessage, type MasterMessage, parseMasterMessage, wrap } from '../protocol.js';

/** A message that says goodbye is waited for no longer than this. */
const FLUSH_MS = 200;

export class Channel {
  listen(onMessage: (message: MasterMessage) => void, onMasterGone: () => void): void {
    process.on('message', (raw) => {
      const parsed = parseMasterMessage(raw);
      if (parsed.kind === 'message') onMessage(parsed.message);
    });
    // it may have gone before there was anybody to hear of it
    if (process.connected) process.once('disconnect', onMasterGone);
    else setImmediate(onMasterGone);
    process.channel?.unref();
    // the app's own listeners would hold the channel open from here on; that is its choice
  }

  send(message: ChildMessage): void {
    void this.#write(message);
  }

  /** Resolves when the message is on its way, or cannot be. */
  async sendLast(message: ChildMessage): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FLUSH_MS);
    });
    await Promise.race([this.#write(message), late]);
    clearTimeout(timer);
  }

  #write(message: ChildMessage): Promise<void> {
    return new Promise((resolve) => {
      if (!process.connected || !process.send) return resolve();
      // a master that is gone shows as `disconnect`, not as an error here
      process.send(wrap(message), undefined, undefined, () => resolve());
    });
  }
}
