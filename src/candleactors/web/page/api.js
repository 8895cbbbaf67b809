/** Requests to the feed's HTTP API. */

import { login } from "./login.js";

/** Where the feed's addresses begin: one folder above this file's, also behind a proxy that adds a prefix. */
const ROOT = new URL("..", import.meta.url);

/** An answer that says what is wrong. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** Whether asking again would be answered in the same way. */
  get final() {
    return this.status >= 400 && this.status < 500 && this.status !== 408 && this.status !== 429;
  }
}

/**
 * Returns an address of the API. Parameters that are null are left out.
 *
 * @param {string} path
 * @param {Record<string, string | number | string[] | null>} [params]
 */
export function address(path, params = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null) url.searchParams.append(name, String(one));
    }
  }
  return url;
}

/**
 * Asks for something, and asks for the token first if that is needed. Throws ApiError, or TypeError where nobody answers.
 *
 * @param {string} method
 * @param {URL} url
 * @param {{body?: unknown, signal?: AbortSignal}} [more]
 * @returns {Promise<any>}
 */
export async function call(method, url, { body, signal } = {}) {
  const response = await fetch(url, {
    method,
    signal: signal ?? AbortSignal.timeout(20_000),
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.status === 401) login(address("api/session"));
  if (!response.ok) throw await problem(response);
  return response.headers.get("Content-Type")?.includes("json") ? response.json() : null;
}

/**
 * @param {string} path
 * @param {Record<string, string | number | string[] | null>} [params]
 * @param {AbortSignal} [signal]
 */
export function get(path, params, signal) {
  return call("GET", address(path, params), { signal });
}

/** @param {Response} response */
async function problem(response) {
  let message = `the feed answers ${response.status}`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // Not one of the feed's own answers: a proxy's, perhaps.
  }
  return new ApiError(response.status, message);
}
