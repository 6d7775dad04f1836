package main

import (
	"time"

	"github.com/understudy-dr/understudy/console"
)

// sawLed keeps what was found out about the pair while another daemon leads.
func (d *daemon) sawLed(f console.Facts) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = &f
}

// led is what is known of a pair that another daemon leads, judged by now.
func (d *daemon) led() console.Facts {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := console.Facts{Pair: d.pair.Metadata.Name, Primary: console.Side{Name: d.pair.Primary.Name}, Standby: console.Side{Name: d.pair.Standby.Name},
		LagThreshold: d.pair.Sync.LagThreshold.Duration, CheckInterval: d.pair.Check.Interval.Duration}
	if d.waiting != nil {
		f = *d.waiting
	}
	f.Now = time.Now()
	return f
}
