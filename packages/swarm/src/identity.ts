/** Unique for one run of one process: `host:pid:nonce`. Colons in it separate its three parts only. */
export function identityOf(host: string, pid: number, nonce: string): string {
  return `${host.replaceAll(':', '-')}:${pid}:${nonce}`;
}
