/**
 * What of a text of others may be shown: in logs, messages, dumps, the registry. In doubt it hides too much. A child's own output is
 * its own affair, and passes as it is.
 */

/**
 * `://user:` and all up to the last @ before a space or the next URL, so that a password with a raw `/` or
 * `@` is caught whole. A port and a path are no password, even with an @ in the path; nor is the word that our own
 * messages use as an example.
 */
const URL_PASSWORD = /(:\/\/(?:[^\s:/?#]+:(?!\d+[/?#])|:))(?!password@)(?:(?!:\/\/)\S)*@/gu;
/** `redis://secret@host` is what people write who have a password and no user. */
const URL_USER = /(:\/\/)[^\s:/?#@]+@(?![^\s/]*@)/gu;
/** ioredis, for one, takes a password from the query as well; other services have their keys there. */
const QUERY_SECRET =
  /([?&][\w.-]*(?:pass|password|passwd|pwd|secret|token|key|auth|credentials?|signature|sig)=)[^\s&#"']+/giu;
/** As in the connection strings of databases. */
const ASSIGNED_SECRET =
  /(?<![\w.?&-])((?:[\w.-]{0,40}[_.-])?(?:password|passwd|pwd|secret|token|api[_-]?key)\s?=\s?)(?!\*)[^\s&;,"')}\]]+/giu;

/** Replaces what is a password by where it stands, by `***`. */
export function maskSecrets(text: string): string {
  const isUrl = text.includes('://');
  const withoutUrls = isUrl ? text.replace(URL_PASSWORD, '$1***@').replace(URL_USER, '$1***@') : text;
  if (!text.includes('=')) return withoutUrls;
  return withoutUrls.replace(QUERY_SECRET, '$1***').replace(ASSIGNED_SECRET, '$1***');
}

const SHELL = /^(a|ba|da|k|z)?sh$/;

/**
 * `/usr/bin/ffmpeg -i a.mp4` is `ffmpeg`, `sh -c 'ffmpeg -i a.mp4'` is `sh -c ffmpeg`. A title that a process gave itself
 * may be anything.
 */
export function programOf(command: string): string {
  if (command === '') return '';
  const [first = ''] = command.split(/\s/, 1);
  const name = /^[\w.+-]{1,40}/.exec(first.replace(/^.*\//, ''))?.[0];
  if (name === undefined || first.includes('=') || first.includes('://')) return 'a program';
  const [, script] = /^\S+\s+-c\s+(\S.*)/s.exec(command) ?? [];
  return script !== undefined && SHELL.test(name) ? `${name} -c ${programOf(script)}` : name;
}
