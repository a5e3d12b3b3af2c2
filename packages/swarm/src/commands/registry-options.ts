/** What `ps`, `jobs` and `redis` are called with. */
export interface RegistryCommandOptions {
  /** A URL, `embedded`, or null: none named. */
  redis: string | null;
  redisTlsNoVerify: boolean;
  namespace: string;
  /** One JSON document on stdout, and nothing else. */
  json: boolean;
}
