import type { Schema } from '../../api/client';
import { shorten } from '../../kit/format';
import type { Backend, Endpoint } from './queries';

/** What a deployment may ask for beside its model and replicas, as a form holds it: empty means the installation decides. */
export interface Settings {
  servingRuntimeImage: string;
  useGpu: '' | 'true' | 'false';
  gpuCount: number | undefined;
  imagePullPolicy: string;
  cpuRequest: string;
  cpuLimit: string;
  memoryRequest: string;
  memoryLimit: string;
  targetLatencyMs: number | undefined;
  cpuUtilization: number | undefined;
  gpuUtilization: number | undefined;
  concurrency: number | undefined;
  kserveMode: '' | 'raw' | 'knative';
  promptPolicyId: string;
}

export type Wished = Pick<
  Schema<'EndpointChange'>,
  | 'servingRuntimeImage' | 'useGpu' | 'gpuCount' | 'imagePullPolicy' | 'cpuRequest' | 'cpuLimit' | 'memoryRequest' | 'memoryLimit' | 'autoscalePolicy'
  | 'kserveMode' | 'promptPolicyId'
>;

export const PULL_POLICIES = ['IfNotPresent', 'Always', 'Never'] as const;
/** The choice in the list of images that lets one type another. */
export const OTHER = 'other';
export const EXTERNAL = 'external';

export function blankSettings(): Settings {
  return {
    servingRuntimeImage: '', useGpu: '', gpuCount: undefined, imagePullPolicy: '', cpuRequest: '', cpuLimit: '', memoryRequest: '', memoryLimit: '',
    targetLatencyMs: undefined, cpuUtilization: undefined, gpuUtilization: undefined, concurrency: undefined, kserveMode: '', promptPolicyId: '',
  };
}

/** The settings an endpoint has, to be changed. */
export function settingsOf(endpoint: Endpoint): Settings {
  return {
    servingRuntimeImage: endpoint.runtimeImage ?? '',
    useGpu: endpoint.useGpu === null || endpoint.useGpu === undefined ? '' : endpoint.useGpu ? 'true' : 'false',
    gpuCount: endpoint.gpuCount ?? undefined,
    imagePullPolicy: endpoint.imagePullPolicy ?? '',
    cpuRequest: endpoint.cpuRequest ?? '',
    cpuLimit: endpoint.cpuLimit ?? '',
    memoryRequest: endpoint.memoryRequest ?? '',
    memoryLimit: endpoint.memoryLimit ?? '',
    targetLatencyMs: endpoint.autoscalePolicy?.targetLatencyMs ?? undefined,
    cpuUtilization: endpoint.autoscalePolicy?.cpuUtilization ?? undefined,
    gpuUtilization: endpoint.autoscalePolicy?.gpuUtilization ?? undefined,
    concurrency: endpoint.autoscalePolicy?.concurrency ?? undefined,
    kserveMode: endpoint.kserveMode ?? '',
    promptPolicyId: endpoint.promptPolicyId ?? '',
  };
}

/** The settings as a request: those alone that the backend lets one choose. */
export function wishedOf(settings: Settings, backend: Backend | undefined): Wished {
  const promptPolicyId = settings.promptPolicyId || null;
  if (!backend?.chooses) return { promptPolicyId };
  const useGpu = settings.useGpu === '' ? null : settings.useGpu === 'true';
  return {
    servingRuntimeImage: settings.servingRuntimeImage.trim() || null,
    useGpu,
    gpuCount: (useGpu !== false && settings.gpuCount) || null,
    imagePullPolicy: (settings.imagePullPolicy || null) as Wished['imagePullPolicy'],
    cpuRequest: settings.cpuRequest.trim() || null,
    cpuLimit: settings.cpuLimit.trim() || null,
    memoryRequest: settings.memoryRequest.trim() || null,
    memoryLimit: settings.memoryLimit.trim() || null,
    autoscalePolicy: scalingOf(settings, backend),
    kserveMode: (backend.name === 'kserve' && settings.kserveMode) || null,
    promptPolicyId,
  };
}

/** Whether Knative makes the replicas: as chosen, or as the installation does. */
export function onKnative(settings: Settings, backend: Backend | undefined): boolean {
  return backend?.name === 'kserve' && (settings.kserveMode || backend.kserveMode) === 'knative';
}

/** When replicas are added, by what is measured there. */
function scalingOf(settings: Settings, backend: Backend): Wished['autoscalePolicy'] {
  const { targetLatencyMs = null, cpuUtilization = null, concurrency = null } = settings;
  const gpuUtilization = (settings.useGpu !== 'false' && settings.gpuUtilization) || null;
  const none = { targetLatencyMs: null, cpuUtilization: null, gpuUtilization: null, concurrency: null };
  if (onKnative(settings, backend)) return concurrency ? { ...none, concurrency } : null;
  return targetLatencyMs || cpuUtilization || gpuUtilization ? { ...none, targetLatencyMs, cpuUtilization, gpuUtilization } : null;
}

/** Of a request's settings those that differ from the endpoint's, so that only they are changed. */
export function changedOf(before: Wished, after: Wished): Partial<Wished> {
  return Object.fromEntries(
    Object.entries(after).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name as keyof Wished])),
  ) as Partial<Wished>;
}

/** The images a deployment may choose: those for its device, the advised one first. */
export function imagesFor(images: Schema<'CuratedImage'>[], useGpu: boolean): Schema<'CuratedImage'>[] {
  return images.filter((image) => image.useGpu === useGpu || image.runtime === 'custom');
}

/** Whether a deployment gets a GPU: what was chosen, else what the installation does. */
export function usesGpu(settings: Settings, backend: Backend | undefined): boolean {
  return settings.useGpu === '' ? (backend?.useGpu ?? false) : settings.useGpu === 'true';
}

/** A value of a setting in a few words. */
export function shown(value: unknown): string {
  if (value === null || value === undefined || value === '') return '—';
  if (typeof value === 'object') {
    const parts = Object.entries(value).filter(([, each]) => each !== null);
    return parts.map(([name, each]) => `${name} ${each}`).join(', ') || '—';
  }
  const text = String(value);
  return text.startsWith('sha256:') ? shorten(text, 12) : text;
}
