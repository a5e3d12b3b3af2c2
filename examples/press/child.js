/** Which child of the swarm this is; null when it runs without swarm. */
export const slot = process.env.SWARM_SLOT === undefined ? null : Number(process.env.SWARM_SLOT);
