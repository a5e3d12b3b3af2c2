#!/usr/bin/env node
// A master lives for long and allocates little. Loading its modules would leave the young generation of
// its heap at full size, some 10 MB that nothing uses again. The flag acts from here on, so it comes first.
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--semi-space-growth-factor=1');
await import('../dist/cli.js');
