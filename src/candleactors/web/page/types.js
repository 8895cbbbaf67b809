/**
 * What the API says, as far as the page reads it. Prices and volumes are texts with every digit.
 *
 * @typedef {{venue: string, symbol: string, timeframe: string}} Stream
 *
 * @typedef {object} Candle
 * @property {string} venue
 * @property {string} symbol
 * @property {string} timeframe
 * @property {number} open_time_ms
 * @property {number} close_time_ms
 * @property {string} open
 * @property {string} high
 * @property {string} low
 * @property {string} close
 * @property {string} volume
 * @property {boolean} closed
 * @property {boolean} complete
 * @property {string} source
 * @property {number} revision
 * @property {number} missing
 *
 * @typedef {object} CandlePage
 * @property {string} symbol
 * @property {string | null} made_from
 * @property {Candle[]} candles
 * @property {number | null} next_start_ms
 * @property {number | null} previous_end_ms
 *
 * @typedef {object} Gap
 * @property {number} first_open_ms
 * @property {number} last_open_ms
 * @property {number} count
 * @property {string} reason
 *
 * @typedef {Stream & {state: string, reason: string | null, owners: string[]}} StreamStatus
 *
 * @typedef {object} GapCounts
 * @property {{gaps: number, candles: number, venue: number, unrepaired: number}} open
 * @property {{candles: number, streams: number}} repaired_24h
 *
 * @typedef {object} ConnectionStatus
 * @property {number} index
 * @property {boolean} connected
 * @property {boolean} retiring
 * @property {number} streams
 * @property {number} capacity
 * @property {number | null} uptime_s
 * @property {number | null} last_message_age_s
 * @property {string[]} sick
 * @property {string | null} last_disconnect
 *
 * @typedef {object} VenueStatus
 * @property {string} venue
 * @property {boolean} healthy
 * @property {number} active_symbols
 * @property {number} subscriptions
 * @property {number} confirmed
 * @property {ConnectionStatus[]} connections
 * @property {number} waiting
 * @property {Record<string, string>} parked
 * @property {number} repairing
 * @property {number} derived
 * @property {number | null} clock_offset_ms
 * @property {{candles: number, p50_ms: number | null, p99_ms: number | null}} latency
 * @property {number} messages
 * @property {Record<string, number>} candles
 * @property {{rest_used: number, rest_limit: number}} budget
 * @property {number} rotations
 * @property {Record<string, number>} reconnects
 *
 * @typedef {object} FeedStatus
 * @property {boolean} healthy
 * @property {number} uptime_s
 * @property {VenueStatus[]} venues
 * @property {{written: number, pending: number, error: string | null}} store
 * @property {{id: string, state: string}[]} actors
 * @property {Record<string, number>} restarts
 */
export {};
