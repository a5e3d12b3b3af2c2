/** Health and metrics of a master, without one. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { collectAll } from '../dist/http/collectors.js';
import { expose, type MetricFamily } from '../dist/http/exposition.js';
import { fleetMetrics } from '../dist/http/fleet-metrics.js';
import { readiness } from '../dist/http/readiness.js';
import { type OpenServer, type Pages, serve } from '../dist/http/server.js';
import { Tallies } from '../dist/http/tallies.js';
import type { DeathNews, MasterView } from '../dist/master/onlookers.js';
import type { ChildRecord, MasterInfo } from '../dist/registry/schema.js';
import { DEFAULT_POLICY, initialState, type Slot, type SupervisorState } from '../dist/supervisor/state.js';
import { until } from './redis-server.js';

const NOW_MS = 1_700_000_000_000;

function family(samples: MetricFamily['samples'], more: Partial<MetricFamily> = {}): MetricFamily {
  return { name: 'some_bytes', help: 'Some.', type: 'gauge', samples, ...more };
}

describe('Prometheus text', () => {
  it('has help, type and a line a sample; what is not known is left out', () => {
    const text = expose([
      family([{ value: 1.5 }, { labels: { slot: 2, group: 'a' }, value: 3 }, { value: null }]),
    ]);
    assert.equal(
      text,
      '# HELP some_bytes Some.\n# TYPE some_bytes gauge\nsome_bytes 1.5\nsome_bytes{slot="2",group="a"} 3\n',
    );
  });

  it('escapes what would end a label, a help or a line', () => {
    const text = expose([family([{ labels: { job: 'a"b\\c\nd' }, value: 0 }], { help: 'a\nb\\c' })]);
    assert.match(text, /^# HELP some_bytes a\\nb\\\\c\n/);
    assert.match(text, /\{job="a\\"b\\\\c\\nd"\} 0\n$/);
  });

  it('any label keeps its line one line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (label) => {
        const lines = expose([family([{ labels: { label }, value: 1 }])]).split('\n');
        assert.equal(lines.length, 4);
        assert.match(lines[2] ?? '', /^some_bytes\{label="(?:[^"\\]|\\["\\n])*"\} 1$/s);
      }),
    );
  });

  it('writes numbers that are none as Prometheus reads them', () => {
    const values = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN];
    assert.deepEqual(
      expose([family(values.map((value) => ({ value })))])
        .split('\n')
        .slice(2, 5),
      ['some_bytes +Inf', 'some_bytes -Inf', 'some_bytes NaN'],
    );
  });

  it('puts families of one name together', () => {
    const text = expose([
      family([{ value: 1 }]),
      family([], { name: 'b' }),
      family([{ value: 2 }], { help: 'Other.' }),
    ]);
    assert.equal(text.match(/# TYPE some_bytes/g)?.length, 1);
    assert.match(text, /some_bytes 1\nsome_bytes 2\n# HELP b/);
  });
});

describe('collectors', () => {
  it('one that fails or is late costs its own metrics, and is told of', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const all = collectAll([
      { name: 'good', collect: () => [family([{ value: 1 }])] },
      { name: 'bad', collect: () => Promise.reject(new Error('no')) },
      {
        name: 'worse',
        collect: () => {
          throw new Error('no');
        },
      },
      { name: 'late', collect: () => new Promise(() => {}) },
    ]);
    t.mock.timers.tick(1_000);
    const text = expose(await all);
    assert.match(text, /^some_bytes 1$/m);
    for (const [name, value] of Object.entries({ good: 1, bad: 0, worse: 0, late: 0 }))
      assert.match(text, new RegExp(`^swarm_collector_success\\{collector="${name}"\\} ${value}$`, 'm'));
  });
});

function table(groups: Record<string, Partial<Slot>[]>): SupervisorState {
  const counts = Object.entries(groups).map(([name, slots]) => ({ name, count: slots.length }));
  const state = initialState(counts, DEFAULT_POLICY, 0);
  const given = Object.values(groups).flat();
  return { ...state, slots: state.slots.map((slot, index) => ({ ...slot, ...given[index] })) };
}

function seat(state: Slot['state'], identity: string): Partial<Slot> {
  const facts = { pid: 7, generation: 0, spawnedAtMs: 0, readyAtMs: 0, canRelease: true };
  return { state, child: { identity, ...facts, killedFor: null, leavesFor: null, givenUp: [] } };
}

function record(identity: string, more: Partial<ChildRecord> = {}): ChildRecord {
  return {
    identity,
    slot: 0,
    group: 'default',
    state: 'up',
    generation: 0,
    pid: 7,
    pidStartTicks: null,
    startedAtMs: NOW_MS - 60_000,
    readyAtMs: NOW_MS - 59_000,
    beatAtMs: NOW_MS - 500,
    rssBytes: 100e6,
    pssBytes: null,
    heapUsedBytes: 10e6,
    heapLimitBytes: 20e6,
    cpuPercent: 150,
    loopLagMs: 12,
    elu: 0.25,
    busy: 1,
    concurrency: 5,
    jobs: [{ queue: 'q', id: '1', name: 'n', startedAtMs: NOW_MS - 4_000 }],
    processed: 0,
    failed: 0,
    restarts: 0,
    lastDeath: null,
    stuckSinceMs: null,
    workers: [],
    ...more,
  };
}

describe('readiness', () => {
  const of = (state: SupervisorState, ...children: ChildRecord[]) => readiness(state, children, NOW_MS);

  it('one child of each group that is up and turns will do', () => {
    const state = table({ mail: [{}, seat('up', 'a')], reports: [seat('up', 'b')] });
    assert.deepEqual(of(state, record('a'), record('b')), { isReady: true, lines: ['ready: 2/3 up'] });
  });

  it('else it says which group lacks one, and why', () => {
    const state = table({ mail: [{}, seat('starting', 'a')], reports: [seat('up', 'b')] });
    const { isReady, lines } = of(state, record('b', { beatAtMs: NOW_MS - 75_000 }));
    assert.equal(isReady, false);
    assert.deepEqual(lines, [
      'group mail: none of 2 is up: slot 0 is backoff; slot 1 is starting',
      'group reports: none of 1 is up: slot 2 (pid 7) is silent for 1m 15s',
    ]);
  });

  it('a master that is quiet or stops takes no jobs', () => {
    for (const phase of ['quiet', 'stopping'] as const) {
      const state = { ...table({ default: [seat('up', 'a')] }), phase };
      assert.deepEqual(of(state, record('a')), { isReady: false, lines: [`the master is ${phase}`] });
    }
  });

  it('a large group is not listed whole', () => {
    const state = table({ default: Array.from({ length: 300 }, () => ({})) });
    assert.match(of(state).lines[0] ?? '', /slot 7 is backoff; and 292 more$/);
  });
});

function view(state: SupervisorState, ...children: ChildRecord[]): MasterView {
  const info = {
    identity: 'h:1:x',
    host: 'h',
    tag: 't',
    version: '1',
    node: '20',
    config: { namespace: 'ns' },
  };
  return { info: info as unknown as MasterInfo, state, children };
}

function death(child: ChildRecord, cause: DeathNews['death']['cause']): DeathNews {
  return { child, death: { cause } as DeathNews['death'], code: null, signal: 'SIGKILL' };
}

describe('tallies', () => {
  it('count what each child did once, whatever becomes of it', () => {
    const tallies = new Tallies();
    const state = table({ default: [seat('up', 'a')] });
    tallies.look(view(state, record('a', { processed: 10, failed: 1 })));
    tallies.look(view(state, record('a', { processed: 15, failed: 1 })));
    const last = record('a', { processed: 17, failed: 2 });
    tallies.died(death(last, 'oom-kill'));
    // its seat shows it for as long as it is empty
    tallies.look(view(state, last));
    tallies.look(view(state, record('b', { processed: 3 })));
    tallies.look(view(state, record('b', { processed: 4 })));
    const { processed, failed, deaths } = tallies.groups.get('default') ?? {};
    assert.deepEqual([processed, failed, deaths?.['oom-kill'], deaths?.stuck], [21, 2, 1, 0]);
  });

  it('count jobs put back by what became of them', () => {
    const tallies = new Tallies();
    const job = { queue: 'q', id: '1', name: 'n', blame: null };
    tallies.heard(0, 'default', {
      type: 'released',
      releaseId: 'x',
      jobs: [
        { ...job, outcome: 'released' },
        { ...job, outcome: 'released' },
        { ...job, outcome: 'quarantined' },
        { ...job, outcome: 'finished' },
      ],
      unserved: [],
      error: null,
    });
    tallies.heard(0, 'default', { type: 'drained', handedBack: [{ ...job, startedAtMs: 0 }], error: null });
    const { released, quarantined, handedBack } = tallies.groups.get('default') ?? {};
    assert.deepEqual([released, quarantined, handedBack], [2, 1, 1]);
  });
});

describe('metrics of a fleet', () => {
  const text = (state: SupervisorState, ...children: ChildRecord[]): string => {
    const tallies = new Tallies();
    const seen = view(state, ...children);
    tallies.look(seen);
    return expose(fleetMetrics(seen, tallies.groups, NOW_MS));
  };

  it('are in base units, per child', () => {
    const exposed = text(table({ default: [seat('up', 'a')] }), record('a'));
    for (const line of [
      'swarm_child_up{slot="0",group="default"} 1',
      'swarm_child_resident_memory_bytes{slot="0",group="default"} 100000000',
      'swarm_child_cpu_ratio{slot="0",group="default"} 1.5',
      'swarm_child_event_loop_lag_seconds{slot="0",group="default"} 0.012',
      'swarm_child_beat_age_seconds{slot="0",group="default"} 0.5',
      'swarm_child_oldest_job_age_seconds{slot="0",group="default"} 4',
      'swarm_slots{group="default",state="up"} 1',
      'swarm_slots{group="default",state="backoff"} 0',
      'swarm_deaths_total{group="default",cause="oom-kill"} 0',
    ])
      assert.ok(exposed.includes(`${line}\n`), line);
    assert.ok(!exposed.includes('swarm_child_proportional_memory_bytes{'), 'not known');
  });

  it('show a silent child as down', () => {
    const exposed = text(table({ default: [seat('up', 'a')] }), record('a', { beatAtMs: NOW_MS - 11_000 }));
    assert.match(exposed, /^swarm_child_up\{.*\} 0$/m);
  });

  it('have one series a slot while a replacement overlaps', () => {
    const slot = {
      ...seat('up', 'a'),
      next: { state: 'starting', child: seat('up', 'b').child } as Slot['next'],
    };
    const lines = text(table({ default: [slot] }), record('a'), record('b')).split('\n');
    const series = lines
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.replace(/ \S+$/, ''));
    assert.deepEqual(series.length, new Set(series).size);
  });
});

describe('the server', () => {
  async function open(t: TestContext, pages: Pages): Promise<OpenServer> {
    const server = await serve(pages, { port: 0, host: '127.0.0.1' });
    t.after(() => server.close());
    return server;
  }

  async function ask(port: number, path: string, method = 'GET'): Promise<{ status: number; text: string }> {
    const asked = request({ port, path, method, host: '127.0.0.1' }).end();
    const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage];
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += chunk;
    return { status: response.statusCode ?? 0, text };
  }

  const page = { status: 200, type: 'text/plain', text: 'ok\n' } as const;

  it('has its pages, and says which', async (t) => {
    const { port } = await open(t, { '/healthz': () => page });
    assert.deepEqual(await ask(port, '/healthz?x=1'), { status: 200, text: 'ok\n' });
    assert.deepEqual(await ask(port, '/healthz', 'HEAD'), { status: 200, text: '' });
    assert.deepEqual(await ask(port, '/nothing'), { status: 404, text: '/healthz\n' });
    assert.equal((await ask(port, '/constructor')).status, 404);
    assert.equal((await ask(port, '/healthz', 'POST')).status, 405);
  });

  it('answers 500 where a page fails', async (t) => {
    const { port } = await open(t, { '/x': () => Promise.reject(new Error('broken')) });
    assert.deepEqual(await ask(port, '/x'), { status: 500, text: 'broken\n' });
  });

  it('hangs up on what is no HTTP', async (t) => {
    const { port } = await open(t, { '/healthz': () => page });
    const socket = connect(port, '127.0.0.1').end('not HTTP at all\r\n\r\n');
    socket.on('error', () => {});
    await once(socket, 'close');
    assert.equal((await ask(port, '/healthz')).status, 200);
  });

  it('answers although hundreds are connected that ask nothing, and hangs up on these', async (t) => {
    const { port } = await open(t, { '/healthz': () => page });
    const sockets = Array.from({ length: 300 }, () => connect(port, '127.0.0.1'));
    t.after(() => {
      for (const socket of sockets) socket.destroy();
    });
    let closed = 0;
    for (const socket of sockets) {
      socket.on('error', () => {});
      socket.on('close', () => {
        closed += 1;
      });
      // half of a request: its end never comes
      socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\n');
      socket.resume();
    }
    await Promise.all(
      sockets.map((socket) => (socket.connecting ? once(socket, 'connect').catch(() => {}) : null)),
    );
    assert.deepEqual(await ask(port, '/healthz'), { status: 200, text: 'ok\n' });
    // Node's own would take half a minute and more
    await until(() => closed === sockets.length, 'all are hung up on', 20_000);
  });

  it('says who has the port', async (t) => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    t.after(() => other.close());
    const { port } = other.address() as { port: number };
    await assert.rejects(serve({}, { port, host: '127.0.0.1' }), {
      code: 'SWARM_PORT_UNUSABLE',
      exitCode: 64,
      message: new RegExp(`^--port ${port} cannot be listened on at 127.0.0.1: another process has it`),
    });
    await assert.rejects(
      serve({}, { port, host: '203.0.113.7' }),
      /203\.0\.113\.7 is no address of this machine/,
    );
  });
});
