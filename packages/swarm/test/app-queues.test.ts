/** A list of queues and an app's own, put together. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { appQueues, lostWeights } from '../dist/child/app-queues.js';
import type { QueueChoice } from '../dist/config.js';
import { SwarmError } from '../dist/errors.js';

const process = (): null => null;
const APP = { queues: { urgent: { process, weight: 4 }, mail: process, crawl: { process, weight: 1 } } };

function choice(texts: string, group = 'default'): { queues: QueueChoice[]; group: string } {
  const queues = texts.split(' ').flatMap((text) => {
    const [name = '', weight] = text.split(',');
    return name === '' ? [] : [{ name, weight: weight === undefined ? null : Number(weight) }];
  });
  return { queues, group };
}

function served(texts: string): string[] {
  const queues = appQueues(APP, choice(texts), () => assert.fail('no queue has a limit'));
  return queues.map(({ name, weight }) => (weight === null ? name : `${name},${weight}`));
}

describe('a list of queues', () => {
  it('decides order and weights, and without one the app does', () => {
    assert.deepEqual(served(''), ['urgent,4', 'mail', 'crawl,1']);
    assert.deepEqual(served('mail urgent'), ['mail', 'urgent']);
    assert.deepEqual(served('mail,3 urgent'), ['mail,3', 'urgent']);
  });

  it('that loses the weights of the app is worth a word', () => {
    assert.equal(
      lostWeights(APP, choice('urgent mail crawl', 'fast')),
      "group fast works strictly in the order urgent, mail, crawl: the app's weights are not used, " +
        'because its list of queues has none (urgent,4 gives one)',
    );
    assert.match(lostWeights(APP, choice('mail crawl')) ?? '', /^each child works .*\(crawl,1 gives one\)$/);
  });

  it('that loses nothing is worth none', () => {
    for (const texts of ['', 'urgent', 'urgent mail,1', 'mail unknown'])
      assert.equal(lostWeights(APP, choice(texts)), null, texts);
    assert.equal(lostWeights({ queues: { a: process, b: { process } } }, choice('a b')), null);
  });

  it('names queues of the app, and an error says whose list it is and what was meant', () => {
    const refusal = (texts: string, group?: string): string => {
      try {
        appQueues(APP, choice(texts, group), () => assert.fail('no queue has a limit'));
      } catch (error) {
        assert.ok(error instanceof SwarmError && error.code === 'SWARM_UNKNOWN_QUEUE');
        return error.message;
      }
      return 'accepted';
    };
    assert.equal(
      refusal('mial', 'slow'),
      'the list of queues of group slow names "mial", but the app defines urgent, mail, crawl: did you mean mail?',
    );
    assert.match(refusal('toString'), /^the list of queues \(--queue, .* names "toString", .* crawl$/);
  });
});
