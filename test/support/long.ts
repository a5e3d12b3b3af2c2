/** `npm run test:long` runs the whole of what `npm test` takes samples of: every variant, and long storms. */
export const IS_LONG = process.env['SWARM_TEST_LONG'] === '1';
