/** What a call can end with: an error of the server, or no answer at all. */

/** The server refused the request or could not answer it. */
export class APIError extends Error {
  override readonly name = "APIError";

  constructor(
    readonly status: number,
    /** E-number of the error table; empty when a proxy answered. */
    readonly errorCode: string,
    message: string,
    /** Names the request in the server's log; empty when a proxy answered. */
    readonly correlationId: string,
    /** Facts a program may use. */
    readonly context: Readonly<Record<string, unknown>>,
    /** Seconds after which the same request may be answered. */
    readonly retryAfterS: number | undefined,
  ) {
    super(message);
  }

  /** The error of an answer of 400 and above, whether the server or a proxy sent it. */
  static async of(response: Response): Promise<APIError> {
    const text = await response.text();
    let body: Record<string, unknown> = { error_message: text.slice(0, 200) };
    try {
      const parsed: unknown = JSON.parse(text);
      if (typeof parsed === "object" && parsed !== null) body = parsed as Record<string, unknown>;
    } catch {
      // A proxy's page.
    }
    return new APIError(
      response.status,
      String(body["error_code"] ?? ""),
      String(body["error_message"] ?? ""),
      String(body["correlation_id"] ?? ""),
      (body["context"] ?? {}) as Record<string, unknown>,
      seconds(response.headers.get("retry-after")),
    );
  }
}

/** The server did not answer: refused, broken, or later than the deadline. */
export class ConnectionFailed extends Error {
  override readonly name = "ConnectionFailed";

  constructor(
    message: string,
    /** Whether the server may have got the request. */
    readonly sent: boolean,
    cause: unknown,
  ) {
    super(message, { cause });
  }
}

/** A job did not end in the time that was given; it goes on. */
export class JobTimeout extends Error {
  override readonly name = "JobTimeout";
}

function seconds(retryAfter: string | null): number | undefined {
  if (retryAfter === null) return undefined;
  if (/^\d+$/.test(retryAfter.trim())) return Number(retryAfter);
  const at = Date.parse(retryAfter);
  return Number.isNaN(at) ? undefined : Math.max(0, (at - Date.now()) / 1000);
}
