/** The end of a child whose master is gone: nobody else is left to end what its jobs have started. */

/** SIGKILL to this process and to everything in its group, whose leader it is. */
export function killOwnGroup(): void {
  try {
    process.kill(-process.pid, 'SIGKILL');
  } finally {
    process.kill(process.pid, 'SIGKILL');
  }
}
