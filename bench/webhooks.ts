/**
 * `npm run bench:webhooks [-- EVENTS]` sends 10,000 events to 10 endpoints. Three endpoints fail until the others have received
 * all events. Prints the times, and the numbers of lost and repeated deliveries. Fails if one of these numbers is not 0.
 */
import { drain } from '../test/local/webhooks/drain.ts';
import { exitOnSignals } from '../test/world/registry.ts';

exitOnSignals();
const events = Number(process.argv[2] ?? 10_000);
const report = await drain({
  events,
  endpoints: 10,
  ill: [
    { manner: 'refuses', patience: null },
    { manner: 'resets', patience: null },
    { manner: 'hangs', patience: null },
  ],
  limit: 45 * 60_000,
  onProgress: (acknowledged) => console.error(acknowledged.join(' ')),
});
const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(1)} s`;
console.log(`${events} events, 10 endpoints, 3 of them ill until the others had all
recorded                 ${seconds(report.recorded)}
seven well have all      ${seconds(report.well)}   (${Math.round((events * 7) / (report.well / 1000))} deliveries a second)
three healed have all    ${seconds(report.ill)}
requests to endpoints    ${report.requests}
lost                     ${report.lost}
again after acknowledged ${report.repeated}
states                   ${JSON.stringify(report.states)}`);
process.exit(report.lost === 0 && report.repeated === 0 ? 0 : 1);
