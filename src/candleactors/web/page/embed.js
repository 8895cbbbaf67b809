/** The chart alone, to be embedded: `/chart?venue=…&symbol=…&timeframe=…`, with `theme=dark` or `light` if wanted. */

import { StreamView } from "./view.js";

const query = new URLSearchParams(location.search);
const [venue, symbol, timeframe] = ["venue", "symbol", "timeframe"].map((name) => query.get(name) ?? "");
document.title = `${symbol} ${timeframe}`;
new StreamView().open({ venue, symbol, timeframe });
