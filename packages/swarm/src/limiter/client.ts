/** As much of an ioredis client (5 or 6, cluster or not) as a limiter needs. */
export interface LimiterRedis {
  readonly isCluster: boolean;
  readonly options?: { keyPrefix?: string | undefined };
  evalsha(sha: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown>;
  eval(lua: string, keyCount: number, ...keysAndArgs: string[]): Promise<unknown>;
  duplicate(): WakeRedis;
}

/** The connection on which those who wait are woken. */
export interface WakeRedis {
  subscribe(channel: string): Promise<unknown>;
  ping(): Promise<unknown>;
  on(event: 'message', listener: (channel: string, text: string) => void): unknown;
  on(event: 'ready', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  disconnect(): void;
}
