import { describe, expect, it } from 'vitest';

import type { Backend } from './queries';
import { segmentsOf, windowOf, type HealthHistory } from './health';
import { blankSettings, changedOf, imagesFor, onKnative, shown, usesGpu, wishedOf } from './settings';

const cluster = { name: 'kubernetes', default: true, chooses: true, useGpu: true, kserveMode: null } as Backend;
const kserve = { ...cluster, name: 'kserve', kserveMode: 'raw' } as Backend;
const local = { ...cluster, name: 'local', chooses: false } as Backend;

describe('the settings of an endpoint', () => {
  it('leave everything to the installation while nothing is chosen', () => {
    expect(Object.values(wishedOf(blankSettings(), cluster)).every((value) => value === null)).toBe(true);
  });

  it('hold only what the backend may choose', () => {
    const chosen = { ...blankSettings(), servingRuntimeImage: 'a/b:1', useGpu: 'true' as const, promptPolicyId: 'p' };
    expect(wishedOf(chosen, local)).toEqual({ promptPolicyId: 'p' });
    expect(wishedOf(chosen, cluster)).toMatchObject({ servingRuntimeImage: 'a/b:1', useGpu: true });
  });

  it('scale by a GPU only where there is one', () => {
    const scaling = { ...blankSettings(), gpuUtilization: 70, cpuUtilization: 60 };
    expect(wishedOf({ ...scaling, useGpu: 'false' }, cluster).autoscalePolicy?.gpuUtilization).toBeNull();
    expect(wishedOf({ ...scaling, useGpu: 'true' }, cluster).autoscalePolicy?.gpuUtilization).toBe(70);
  });

  it('count GPUs only where there are some', () => {
    const two = { ...blankSettings(), gpuCount: 2 };
    expect([wishedOf({ ...two, useGpu: 'true' }, cluster).gpuCount, wishedOf({ ...two, useGpu: 'false' }, cluster).gpuCount]).toEqual([2, null]);
  });

  it('scale on Knative by calls at once and by nothing else', () => {
    const asked = { ...blankSettings(), cpuUtilization: 60, concurrency: 8, kserveMode: 'knative' as const };
    expect(wishedOf(asked, kserve)).toMatchObject({ kserveMode: 'knative', autoscalePolicy: { concurrency: 8, cpuUtilization: null } });
    expect(wishedOf({ ...asked, kserveMode: '' }, kserve).autoscalePolicy).toMatchObject({ concurrency: null, cpuUtilization: 60 });
    expect(wishedOf(asked, cluster)).toMatchObject({ kserveMode: null, autoscalePolicy: { concurrency: null, cpuUtilization: 60 } });
    expect([onKnative(asked, kserve), onKnative(asked, cluster), onKnative(blankSettings(), { ...kserve, kserveMode: 'knative' })]).toEqual([true, false, true]);
  });

  it('are sent only where they were changed', () => {
    const before = wishedOf({ ...blankSettings(), cpuRequest: '2', cpuUtilization: 50 }, cluster);
    const after = wishedOf({ ...blankSettings(), cpuRequest: '4', cpuUtilization: 50 }, cluster);
    expect(changedOf(before, after)).toEqual({ cpuRequest: '4' });
    expect(changedOf(before, before)).toEqual({});
  });

  it('offer images for their device', () => {
    const images = [true, false].map((useGpu) => ({ image: `x:${useGpu}`, runtime: 'vllm' as const, useGpu, note: '' }));
    expect(imagesFor(images, false).map((it) => it.image)).toEqual(['x:false']);
  });

  it('use a GPU as chosen, or as the installation does', () => {
    const backend = { name: 'kserve', default: true, chooses: true, useGpu: true } as Backend;
    expect([usesGpu(blankSettings(), backend), usesGpu({ ...blankSettings(), useGpu: 'false' }, backend)]).toEqual([true, false]);
  });

  it('are shown in a few words', () => {
    expect([shown(null), shown(false), shown({ cpuUtilization: 50, gpuUtilization: null })]).toEqual(['—', 'false', 'cpuUtilization 50']);
  });
});

describe('the timeline of health', () => {
  const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString();
  const span = (status: 'healthy' | 'failed', from: number, to: number) => ({ status, reason: '', revision: 1, since: at(from), until: at(to), seconds: (to - from) * 60 });

  it('puts spans side by side and joins neighbours of one status', () => {
    const history: HealthHistory = {
      since: at(0), until: at(100), seconds: {}, availability: null, spans: [span('healthy', 10, 20), span('healthy', 20, 60), span('failed', 60, 100)],
    };
    expect(segmentsOf(history)).toEqual([{ status: 'healthy', left: 10, width: 50 }, { status: 'failed', left: 60, width: 40 }]);
  });

  it('reads its window from the address, and a day where that is none', () => {
    expect([windowOf('7d'), windowOf('century'), windowOf('')]).toEqual(['7d', '24h', '24h']);
  });
});
