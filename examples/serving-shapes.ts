/** What the platform's serving API takes and answers, as `serving-client.ts` uses it. */

export type Environment = 'dev' | 'stg' | 'prod';
export type Status = 'deploying' | 'healthy' | 'degraded' | 'failed' | 'stopped';

export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** An endpoint as it was asked for, and as it was last seen. */
export interface Endpoint {
  id: string;
  environment: Environment;
  route: string;
  modelId: string;
  modelName: string;
  version: string;
  modelDigest: string;
  backend: string;
  minReplicas: number;
  maxReplicas: number;
  rollbackPlan: string | null;
  revision: number;
  status: Status;
  statusDetail: string;
  baseUrl: string | null;
  replicas: { total: number; ready: number; available: number };
  lastHealthCheck: string | null;
  runtimeImage: string | null;
  promptPolicyId: string | null;
  createdBy: string;
  createdAt: string;
}

/** One revision of an endpoint and how its roll-out went. */
export interface Revision {
  revision: number;
  modelId: string;
  minReplicas: number;
  maxReplicas: number;
  state: { status: string; error: string | null };
}

/** What was seen of a revision from a moment on, until the next event. */
export interface EndpointEvent {
  revision: number;
  status: Status | 'unknown';
  detail: string;
  at: string;
}

/** What the model server of a route said just now. */
export interface RouteHealth {
  route: string;
  environment: Environment;
  status: Status;
  endpointId: string;
  modelName: string;
  version: string;
  revision: number;
}

/** Where and how a model is served; what is left out the installation decides. */
export interface Wishes {
  route: string;
  environment?: Environment;
  minReplicas?: number;
  maxReplicas?: number;
  rollbackPlan?: string;
  backend?: 'local' | 'kubernetes' | 'kserve';
  useGpu?: boolean;
  /** GPUs of one replica, which share the model. */
  gpuCount?: number;
  servingRuntimeImage?: string;
  imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  cpuRequest?: string;
  cpuLimit?: string;
  memoryRequest?: string;
  memoryLimit?: string;
  autoscalePolicy?: { targetLatencyMs?: number; gpuUtilization?: number; cpuUtilization?: number; concurrency?: number };
  kserveMode?: 'raw' | 'knative';
  promptPolicyId?: string;
}

/** What may be another when an endpoint is rolled out again; what is left out stays. */
export type Redeployment = Pick<
  Wishes, 'useGpu' | 'gpuCount' | 'servingRuntimeImage' | 'cpuRequest' | 'cpuLimit' | 'memoryRequest' | 'memoryLimit'
>;

type Changeable = Omit<Wishes, 'route' | 'environment' | 'backend' | 'minReplicas' | 'maxReplicas'>;

/** What is changed of an endpoint: what is left out stays, and null goes back to the installation's default. */
export type Changes = { [Name in keyof Changeable]: Changeable[Name] | null } & {
  minReplicas?: number;
  maxReplicas?: number;
  status?: 'stopped' | 'deploying';
  /** Why a setting differs from the environment below, by setting. */
  parityReasons?: Record<string, string>;
  note?: string;
  /** The revision that was looked at: the change is refused when it is another by now. */
  revision?: number;
};

/** How an answer is drawn; what is left out is the model's own choice. A signal that is aborted frees the model. */
export interface Sampling {
  temperature?: number;
  max_tokens?: number;
  top_p?: number;
  stop?: string | string[];
  seed?: number;
  user?: string;
  promptVariables?: Record<string, unknown>;
  signal?: AbortSignal;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

/** What a model answered. `route` is who really answered: a fallback under its own name, if it had to. */
export interface Answer {
  text: string;
  finishReason: string;
  usage: Usage;
  route: string;
}

/** A piece of an answer on its way. The last ones carry the reason why it ended, and the usage. */
export interface Piece {
  text: string;
  finishReason?: string;
  usage?: Usage;
}

export interface Options {
  /** An API key, which opens the chat routes, or a person's token. */
  token?: string;
  /** Who calls where the platform runs on this machine alone; left out, it is the local admin. */
  user?: string;
  roles?: string;
  /** How often what may be asked again is. */
  retries?: number;
  /** Seconds: who is told to come back later than that is refused. */
  patience?: number;
  /** Seconds until the head of an answer is there. */
  timeout?: number;
}
