import { BarChart, CustomChart, LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent, LegendScrollComponent, TooltipComponent } from 'echarts/components';
import { init, use, type EChartsCoreOption, type EChartsType } from 'echarts/core';
import { CanvasRenderer } from 'echarts/renderers';

use([LineChart, BarChart, CustomChart, GridComponent, LegendComponent, LegendScrollComponent, TooltipComponent, CanvasRenderer]);

export { init };
export type { EChartsCoreOption, EChartsType };

/** Colors that keep their contrast on the light and on the dark page. */
export interface ChartColors {
  series: string[];
  text: string;
  line: string;
  surface: string;
}

export function chartColors(dark: boolean): ChartColors {
  return dark
    ? { series: ['#60a5fa', '#fbbf24', '#34d399', '#f472b6', '#a78bfa', '#22d3ee', '#f87171', '#a3e635', '#e879f9', '#d4d4d8'], text: '#a1a1aa', line: '#3f3f46', surface: '#18181b' }
    : { series: ['#2563eb', '#d97706', '#059669', '#db2777', '#7c3aed', '#0891b2', '#dc2626', '#4d7c0f', '#a21caf', '#52525b'], text: '#71717a', line: '#e4e4e7', surface: '#ffffff' };
}
