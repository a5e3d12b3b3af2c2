/** A reporter for node's test runner: the files that hold a failed test, a line each. */
import { relative } from 'node:path';

export default async function* failedFiles(events) {
  for await (const { type, data } of events) {
    if (type === 'test:fail' && data.file && data.todo === undefined) yield `${relative('.', data.file)}\n`;
  }
}
