/** `swarm doctor` on a Redis of a test's own, some or all of its checks, without a process of its own. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { loadConfigWithoutApp } from '../dist/config.js';
import { CHECKS } from '../dist/doctor/checks/index.js';
import { type ExaminationInput, examine, type Finding, type Status } from '../dist/doctor/index.js';
import { connect, type RedisClient } from '../dist/redis/connect.js';
import { whenReady } from '../dist/redis/ready.js';
import { addressOf, parseRedisUrl, redisIdOf } from '../dist/redis/url.js';
import type { ChildRecord } from '../dist/registry/schema.js';
import { type MasterReport, RegistryWriter } from '../dist/registry/writer.js';

export interface ExamOptions extends Partial<Omit<ExaminationInput, 'config' | 'redisUrl'>> {
  /** As on the command line. */
  flags?: Record<string, string | string[] | boolean>;
  /** The app, as it is named. */
  app?: string;
  /** Default: all. */
  checks?: readonly string[];
}

export async function findings(
  url: string,
  { flags = {}, app, checks, ...input }: ExamOptions = {},
): Promise<Map<string, Finding>> {
  const { config } = await loadConfigWithoutApp({
    argv: { redis: url, count: '2', ...flags },
    app,
    env: {},
    cwd: tmpdir(),
    isTty: false,
  });
  const chosen = CHECKS.filter(({ name }) => !checks || checks.includes(name));
  assert.equal(chosen.length, checks?.length ?? CHECKS.length, 'no such check');
  const all = await examine(
    { config, redisUrl: () => Promise.resolve(url), env: {}, dbMax: null, dbPool: null, ...input },
    undefined,
    chosen,
  );
  return new Map(all.map((finding) => [finding.check, finding]));
}

/** One check's finding, which must be of this status and say this; what is not ok says why, and what to do. */
export async function finds(
  url: string,
  check: string,
  expected: { status: Status; found: RegExp; cure?: RegExp },
  options: ExamOptions = {},
): Promise<Finding> {
  const finding = (await findings(url, { ...options, checks: [check] })).get(check) as Finding;
  const text = [finding.found, ...finding.details].join('\n');
  assert.equal(finding.status, expected.status, text);
  assert.match(text, expected.found);
  assert.equal(finding.skipped, false, text);
  if (finding.status !== 'ok') {
    assert.ok(finding.why, `${check} does not say why it matters`);
    assert.ok(finding.cure.length > 0, `${check} does not say what to do`);
  }
  if (expected.cure) assert.match(finding.cure.join('\n'), expected.cure);
  return finding;
}

export function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'swarm-doctor-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export async function openClient(t: TestContext, url: string): Promise<RedisClient> {
  const client = connect(parseRedisUrl(url, 'test'), { name: 'test', role: 'registry' });
  t.after(() => client.disconnect());
  await whenReady(client, url);
  return client;
}

/** A child that works for these queues, on the Redis at this URL. */
export function childOn(
  url: string,
  queues: readonly string[],
  more: Partial<ChildRecord> = {},
): ChildRecord {
  const redisId = redisIdOf(addressOf(parseRedisUrl(url, 'test')));
  const nowMs = Date.now();
  return {
    identity: `web-1:5000:${Math.random()}`,
    slot: 0,
    group: 'default',
    state: 'up',
    generation: 0,
    pid: 5000,
    pidStartTicks: null,
    startedAtMs: nowMs - 60_000,
    readyAtMs: nowMs - 59_000,
    beatAtMs: nowMs,
    rssBytes: 90e6,
    pssBytes: 50e6,
    heapUsedBytes: 20e6,
    heapLimitBytes: 2e9,
    cpuPercent: 1,
    loopLagMs: 2,
    elu: 0.01,
    busy: 0,
    concurrency: 1,
    jobs: [],
    processed: 0,
    failed: 0,
    restarts: 0,
    lastDeath: null,
    stuckSinceMs: null,
    workers: queues.map((queue) => ({
      queue,
      prefix: 'bull',
      tokenPrefix: `${queue}:`,
      redisId,
      lock: { durationMs: 30_000, renewMs: 15_000 },
    })),
    ...more,
  };
}

interface MasterOptions {
  namespace?: string;
  tag?: string;
  startedAtMs?: number;
  clockOffsetMs?: number;
  children?: ChildRecord[];
  generation?: number;
}

let masters = 0;

/** Enters a master of another host into the registry, as it would itself. @returns its identity */
export async function register(
  client: RedisClient,
  {
    namespace = 'default',
    tag = 'app',
    startedAtMs = Date.now(),
    children = [],
    clockOffsetMs = 0,
    generation = 0,
  }: MasterOptions,
): Promise<string> {
  const identity = `web-${++masters}:4711:n`;
  const report: MasterReport = {
    info: {
      ...{
        identity,
        host: `web-${masters}`,
        bootId: 'another',
        pidNamespace: '1',
        pid: 4711,
        pidStartTicks: 1,
      },
      ...{
        startedAtMs,
        version: '0.1.0',
        node: '24.1.0',
        tag,
        labels: [],
        redisId: null,
        app: '/srv/worker.js',
        config: {},
      },
    },
    state: 'up',
    generation,
    count: children.length,
    children,
    owed: [],
    jobMemory: [],
    jobDurations: [],
    clockOffsetMs,
  };
  await new RegistryWriter(client, namespace).beat(report, 300);
  return identity;
}
