import type { Schema } from '../../api/client';
import { shorten } from '../../kit/format';
import type { Backend, Endpoint } from './queries';

/** What a deployment may ask for beside its model and replicas, as a form holds it: empty means the installation decides. */
export interface Settings {
  servingRuntimeImage: string;
  useGpu: '' | 'true' | 'false';
  imagePullPolicy: string;
  cpuRequest: string;
  cpuLimit: string;
  memoryRequest: string;
  memoryLimit: string;
  targetLatencyMs: number | undefined;
  cpuUtilization: number | undefined;
  gpuUtilization: number | undefined;
  promptPolicyId: string;
}

export type Wished = Pick<
  Schema<'EndpointChange'>,
  | 'servingRuntimeImage' | 'useGpu' | 'imagePullPolicy' | 'cpuRequest' | 'cpuLimit' | 'memoryRequest' | 'memoryLimit' | 'autoscalePolicy' | 'promptPolicyId'
>;

export const PULL_POLICIES = ['IfNotPresent', 'Always', 'Never'] as const;
/** The choice in the list of images that lets one type another. */
export const OTHER = 'other';
export const EXTERNAL = 'external';

export function blankSettings(): Settings {
  return {
    servingRuntimeImage: '', useGpu: '', imagePullPolicy: '', cpuRequest: '', cpuLimit: '', memoryRequest: '', memoryLimit: '',
    targetLatencyMs: undefined, cpuUtilization: undefined, gpuUtilization: undefined, promptPolicyId: '',
  };
}

/** The settings an endpoint has, to be changed. */
export function settingsOf(endpoint: Endpoint): Settings {
  return {
    servingRuntimeImage: endpoint.runtimeImage ?? '',
    useGpu: endpoint.useGpu === null || endpoint.useGpu === undefined ? '' : endpoint.useGpu ? 'true' : 'false',
    imagePullPolicy: endpoint.imagePullPolicy ?? '',
    cpuRequest: endpoint.cpuRequest ?? '',
    cpuLimit: endpoint.cpuLimit ?? '',
    memoryRequest: endpoint.memoryRequest ?? '',
    memoryLimit: endpoint.memoryLimit ?? '',
    targetLatencyMs: endpoint.autoscalePolicy?.targetLatencyMs ?? undefined,
    cpuUtilization: endpoint.autoscalePolicy?.cpuUtilization ?? undefined,
    gpuUtilization: endpoint.autoscalePolicy?.gpuUtilization ?? undefined,
    promptPolicyId: endpoint.promptPolicyId ?? '',
  };
}

/** The settings as a request: those alone that the backend lets one choose. `chooses`: image and resources are among them. */
export function wishedOf(settings: Settings, chooses: boolean): Wished {
  const promptPolicyId = settings.promptPolicyId || null;
  if (!chooses) return { promptPolicyId };
  const { targetLatencyMs, cpuUtilization, gpuUtilization } = settings;
  const useGpu = settings.useGpu === '' ? null : settings.useGpu === 'true';
  const scales = targetLatencyMs || cpuUtilization || gpuUtilization;
  return {
    servingRuntimeImage: settings.servingRuntimeImage.trim() || null,
    useGpu,
    imagePullPolicy: (settings.imagePullPolicy || null) as Wished['imagePullPolicy'],
    cpuRequest: settings.cpuRequest.trim() || null,
    cpuLimit: settings.cpuLimit.trim() || null,
    memoryRequest: settings.memoryRequest.trim() || null,
    memoryLimit: settings.memoryLimit.trim() || null,
    autoscalePolicy: scales
      ? {
          targetLatencyMs: targetLatencyMs ?? null,
          cpuUtilization: cpuUtilization ?? null,
          gpuUtilization: (useGpu !== false && gpuUtilization) || null,
        }
      : null,
    promptPolicyId,
  };
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
