package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/runtime"
)

// The annotations in which autoscaling/v1 keeps what only v2 has fields for
// (pkg/apis/autoscaling/annotations.go).
const (
	hpaMetrics    = "autoscaling.alpha.kubernetes.io/metrics"
	hpaBehavior   = "autoscaling.alpha.kubernetes.io/behavior"
	hpaAnnotation = "autoscaling.alpha.kubernetes.io/"
)

// autoscaler leaves the status as it is: it is each cluster's own.
func autoscaler(object Fields) error {
	spec, annotations := mapIn(object, "spec"), mapIn(object, "metadata", "annotations")
	for _, unknown := range []string{"scale-up-tolerance", "scale-down-tolerance"} {
		if annotations[hpaAnnotation+unknown] != nil {
			return errors.New("a tolerance is kept in an annotation")
		}
	}
	var metrics []autoscalingv2.MetricSpec
	if text, ok := annotations[hpaMetrics].(string); ok {
		var old []autoscalingv1.MetricSpec
		if err := json.Unmarshal([]byte(text), &old); err != nil {
			return fmt.Errorf("annotation %s: %w", hpaMetrics, err)
		}
		for _, m := range old {
			metrics = append(metrics, metricOf(m))
		}
	}
	percentage, hasCPU := spec["targetCPUUtilizationPercentage"].(int64)
	if !hasCPU && len(metrics) == 0 {
		percentage, hasCPU = 80, true // DefaultCPUUtilization
	}
	if hasCPU {
		metrics = append(metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
			Name:   "cpu",
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(percentage))}, //nolint:gosec // an int32 in its type
		}})
	}
	delete(spec, "targetCPUUtilizationPercentage")
	wanted := struct {
		Metrics  []autoscalingv2.MetricSpec                     `json:"metrics"`
		Behavior *autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior,omitempty"`
	}{Metrics: metrics}
	if text, ok := annotations[hpaBehavior].(string); ok {
		// The internal type, whose names differ in their capitals alone.
		if err := json.Unmarshal([]byte(text), &wanted.Behavior); err != nil {
			return fmt.Errorf("annotation %s: %w", hpaBehavior, err)
		}
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&wanted)
	if err != nil {
		return err
	}
	maps.Copy(spec, fields)
	maps.DeleteFunc(annotations, func(name string, _ any) bool { return strings.HasPrefix(name, hpaAnnotation) })
	if len(annotations) == 0 {
		delete(mapIn(object, "metadata"), "annotations")
	}
	return nil
}

func metricOf(m autoscalingv1.MetricSpec) autoscalingv2.MetricSpec {
	out := autoscalingv2.MetricSpec{Type: autoscalingv2.MetricSourceType(m.Type)}
	utilization := func(percent *int32) autoscalingv2.MetricTargetType {
		if percent == nil {
			return autoscalingv2.AverageValueMetricType
		}
		return autoscalingv2.UtilizationMetricType
	}
	if r := m.Resource; r != nil {
		out.Resource = &autoscalingv2.ResourceMetricSource{Name: r.Name, Target: autoscalingv2.MetricTarget{
			Type: utilization(r.TargetAverageUtilization), AverageUtilization: r.TargetAverageUtilization, AverageValue: r.TargetAverageValue}}
	}
	if r := m.ContainerResource; r != nil {
		out.ContainerResource = &autoscalingv2.ContainerResourceMetricSource{Name: r.Name, Container: r.Container, Target: autoscalingv2.MetricTarget{
			Type: utilization(r.TargetAverageUtilization), AverageUtilization: r.TargetAverageUtilization, AverageValue: r.TargetAverageValue}}
	}
	if p := m.Pods; p != nil {
		out.Pods = &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: p.MetricName, Selector: p.Selector},
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &p.TargetAverageValue}}
	}
	if o := m.Object; o != nil {
		target := autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &o.TargetValue, AverageValue: o.AverageValue}
		if o.AverageValue != nil {
			target.Type = autoscalingv2.AverageValueMetricType
			if o.TargetValue.IsZero() {
				target.Value = nil
			}
		}
		out.Object = &autoscalingv2.ObjectMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: o.MetricName, Selector: o.Selector}, Target: target,
			DescribedObject: autoscalingv2.CrossVersionObjectReference{Kind: o.Target.Kind, Name: o.Target.Name, APIVersion: o.Target.APIVersion}}
	}
	if e := m.External; e != nil {
		target := autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: e.TargetValue, AverageValue: e.TargetAverageValue}
		if e.TargetValue == nil {
			target.Type = autoscalingv2.AverageValueMetricType
		}
		out.External = &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: e.MetricName, Selector: e.MetricSelector}, Target: target}
	}
	return out
}
