package etcdproc

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-dr/understudy/internal/testkit/proc"
)

// Len is the number of members.
func (c *Cluster) Len() int { return len(c.members) }

// Running says whether member i has not ended.
func (c *Cluster) Running(i int) bool { return c.members[i].running() }

// KillMember ends member i with SIGKILL and waits until it is gone.
func (c *Cluster) KillMember(i int) { c.members[i].process.Load().Kill() }

// Kill ends every member with SIGKILL and waits until they are gone.
func (c *Cluster) Kill() {
	for i := range c.members {
		c.KillMember(i)
	}
}

// RestartMember starts member i on its old ports and data and waits until it
// serves. A member that still runs is killed first.
func (c *Cluster) RestartMember(ctx context.Context, i int) error {
	c.KillMember(i)
	if err := c.LaunchMember(i); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	return c.memberReady(ctx, i)
}

// Restart starts every member on its old ports and data and waits until they
// serve. Those that still run are killed first.
func (c *Cluster) Restart(ctx context.Context) error {
	c.Kill()
	if err := c.Launch(); err != nil {
		return err
	}
	return c.Ready(ctx)
}

// SetFlags changes the added flags; they hold from the next start of a member.
func (c *Cluster) SetFlags(flags ...string) { c.config.Flags = flags }

// PauseMember freezes member i with SIGSTOP.
func (c *Cluster) PauseMember(i int) error { return c.members[i].process.Load().Pause() }

// ContinueMember ends a PauseMember.
func (c *Cluster) ContinueMember(i int) error { return c.members[i].process.Load().Continue() }

// Pause freezes every member with SIGSTOP.
func (c *Cluster) Pause() error {
	return c.each((*proc.Process).Pause)
}

// Continue ends a Pause.
func (c *Cluster) Continue() error {
	return c.each((*proc.Process).Continue)
}

func (c *Cluster) each(do func(*proc.Process) error) error {
	var errs []error
	for _, m := range c.members {
		errs = append(errs, do(m.process.Load()))
	}
	return errors.Join(errs...)
}

// LeaderIndex asks the running members which of them leads.
func (c *Cluster) LeaderIndex(ctx context.Context) (int, error) {
	var errs []error
	for i, m := range c.members {
		if !m.running() {
			continue
		}
		status, err := c.status(ctx, m)
		if err != nil {
			errs = append(errs, err)
		} else if status.Leader != 0 && status.Leader == status.Header.MemberId {
			return i, nil
		}
	}
	return 0, errors.Join(append(errs, errors.New("no member leads"))...)
}

func (c *Cluster) status(ctx context.Context, m *Member) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return c.client.Status(ctx, c.endpoint(m))
}

// Dir holds data, logs and certificates.
func (c *Cluster) Dir() string { return c.dir }

// DataDir is the data directory of member i.
func (c *Cluster) DataDir(i int) string { return c.members[i].dataDir }

// LogPath is the log of member i.
func (c *Cluster) LogPath(i int) string { return c.members[i].log }

// Pids are the process IDs of the members.
func (c *Cluster) Pids() []int {
	var pids []int
	for _, m := range c.members {
		pids = append(pids, m.process.Load().Pid())
	}
	return pids
}

// RSS is the resident memory of all running members together, in bytes.
func (c *Cluster) RSS() (int64, error) {
	var sum int64
	for _, m := range c.members {
		if !m.running() {
			continue
		}
		rss, err := m.process.Load().RSS()
		if err != nil {
			return 0, err
		}
		sum += rss
	}
	return sum, nil
}

func (m *Member) running() bool {
	process := m.process.Load()
	return process != nil && process.Running()
}

// enableAuth creates the users and turns etcd's authentication on.
func (c *Cluster) enableAuth(ctx context.Context) error {
	config := c.config
	c.config.User = "" // dial without a user once more
	client, err := c.NewClient(clientv3.Config{})
	c.config = config
	if err != nil {
		return err
	}
	defer client.Close()
	users := []string{"root"}
	if config.User != "root" {
		users = append(users, config.User)
	}
	for _, user := range users {
		if _, err := client.RoleAdd(ctx, user); err != nil {
			return err
		}
		if _, err := client.UserAdd(ctx, user, config.Password); err != nil {
			return err
		}
		if _, err := client.UserGrantRole(ctx, user, user); err != nil {
			return err
		}
	}
	if config.User != "root" {
		all := clientv3.PermissionType(clientv3.PermReadWrite)
		if _, err := client.RoleGrantPermission(ctx, config.User, "\x00", "\x00", all); err != nil {
			return err
		}
	}
	_, err = client.AuthEnable(ctx)
	return err
}
