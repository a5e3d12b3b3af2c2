/** A trial whose processes end, and what the registry then says of it. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type DeathRecord, Registry } from 'bullmq-swarm/registry';
import type { TestRedis } from './redis.js';
import { type Swarm, type SwarmOptions, swarmCommand } from './swarm.js';
import { Trial } from './trial.js';
import { waitFor } from './wait.js';

/** Its jobs end their process in the way that their data names, at their first start; see test/apps/deaths.mjs. */
export class DeathTrial extends Trial {
  readonly registry: Registry;

  constructor(
    readonly t: TestContext,
    redis: TestRedis,
  ) {
    super(t, redis);
    this.registry = new Registry({ redis: redis.url, namespace: this.namespace });
    t.after(() => this.registry.close());
  }

  startSwarm(count: number, options: SwarmOptions & { app?: string } = {}): Swarm {
    return this.start(count, { app: 'deaths.mjs', ...options });
  }

  /** The record of the death of a process, once it is written. */
  async death(pid: number): Promise<DeathRecord> {
    return waitFor(
      `the death of ${pid} is on record`,
      async () => (await this.registry.deaths({ all: true })).find((death) => death.pid === pid),
      { timeoutMs: 15_000 },
    ).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}\n${this.masters.map((swarm) => swarm.tail()).join('\n')}`);
    });
  }

  /** One job, which ends its process; the line that was logged, and the record. */
  async fatal(
    swarm: Swarm,
    data: object,
  ): Promise<{ id: string; exited: Record<string, unknown>; death: DeathRecord }> {
    const id = await this.add(data);
    const { pid } = await this.runs(id);
    const exited = await swarm.line('exited', { pid });
    const death = await this.death(pid);
    assert.equal(death.cause, exited['cause']);
    return { id, exited, death };
  }

  async shownDeaths(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await swarmCommand(
      ['deaths', ...args, '--redis', this.redis.url, '--namespace', this.namespace],
      { env: { COLUMNS: '160' } },
    );
    assert.deepEqual([code, stderr], [0, '']);
    return stdout;
  }
}
