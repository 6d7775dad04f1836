package etcdproc

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
)

// Metrics are the first member's own, by name with labels, and by name alone
// as the sum of those.
func (c *Cluster) Metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.endpoint(c.members[0])+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	all := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		space := strings.LastIndexByte(line, ' ')
		if space < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		n, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			continue
		}
		name, _, labelled := strings.Cut(line[:space], "{")
		if all[name] += n; labelled {
			all[line[:space]] = n
		}
	}
	return all, lines.Err()
}
