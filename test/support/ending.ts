/**
 * An end by a signal – of whoever runs the tests, or of the runner at a file that hangs – is an exit too, so that what
 * was started is ended by the listeners for `exit`.
 */
import { constants } from 'node:os';

for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]));
}
