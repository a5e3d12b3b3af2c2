/** Where the sources are and where `tsc -b` puts what it makes of them. */
import { existsSync, readdirSync } from 'node:fs';

const packages = readdirSync('packages').filter((name) => existsSync(`packages/${name}/package.json`));

export const PACKAGES = packages.map((name) => `packages/${name}`);

export const TEST_OUTPUTS = [
  ...PACKAGES.map((path) => ({ source: `${path}/test`, output: `${path}/test-dist` })),
  { source: 'test', output: 'test/dist' },
];

export const PACKAGE_OUTPUTS = PACKAGES.map((path) => ({ source: `${path}/src`, output: `${path}/dist` }));

export const BENCH_OUTPUT = { source: 'bench', output: 'bench/dist' };

export const OUTPUT_DIRECTORIES = [...PACKAGE_OUTPUTS, ...TEST_OUTPUTS, BENCH_OUTPUT];
