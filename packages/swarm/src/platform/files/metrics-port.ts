/** Where health and metrics are served in a container, if nothing else was said. */
export const METRICS_PORT = 9464;
