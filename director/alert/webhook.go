package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// hook posts without following redirects: they could lead a secret elsewhere.
var hook = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// sendWebhook posts the event as JSON. The address may hold a token, so errors
// do not name it.
func sendWebhook(ctx context.Context, c *Config, _ string, list []Event) error {
	if c.Webhook == "" {
		return nil
	}
	body, err := json.Marshal(&list[0])
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Webhook, bytes.NewReader(body))
	if err != nil {
		return errors.New("webhook: bad address")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "goipvsd")
	res, err := hook.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		var wrong *tls.CertificateVerificationError
		if errors.As(err, &wrong) {
			return fmt.Errorf("webhook: the certificate is not trusted: %w (hint: the system's store must have the authority: update-ca-certificates)", wrong.Err)
		}
		return fmt.Errorf("webhook: %w", err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	if res.StatusCode/100 == 3 {
		return fmt.Errorf("webhook: status %d, and redirects are not followed (hint: give the address that it leads to)", res.StatusCode)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("webhook: status %d", res.StatusCode)
	}
	return nil
}
