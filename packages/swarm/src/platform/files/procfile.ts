/** The line of a Procfile. Heroku's PATH has `node_modules/.bin`; through `npm run`, TERM would not come through. */
import { type Deployment, swarmWords } from '../deployment.js';
import { shellQuote } from './shell-quote.js';

export function procfile(deployment: Deployment): string {
  return `worker: ${['swarm', ...swarmWords(deployment)].map(shellQuote).join(' ')}\n`;
}
