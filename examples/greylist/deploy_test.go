package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const (
	manifestFolder = "../../deploy/kubernetes"
	filterName     = "greylist"
	redisName      = "greylist-redis"
)

// decode reads all manifests as the API server does with fieldValidation=Strict: what it does not know is an error.
func decode(t *testing.T) (objects []runtime.Object) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme,
		networkingv1.AddToScheme, policyv1.AddToScheme} {
		require.NoError(t, add(scheme))
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	files, err := filepath.Glob(filepath.Join(manifestFolder, "*.yaml"))
	require.NoError(t, err)
	for _, file := range files {
		for _, document := range documents(t, file) {
			object, _, err := decoder.Decode(document, nil, nil)
			require.NoError(t, err, file)
			objects = append(objects, object)
		}
	}
	return objects
}

func documents(t *testing.T, file string) (all [][]byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err, file)
		all = append(all, document)
	}
}

// manifest gives the one object of a type that has this name.
func manifest[T metav1.Object](t *testing.T, name string) T {
	t.Helper()
	var found []T
	for _, object := range decode(t) {
		if typed, ok := object.(T); ok && typed.GetName() == name {
			found = append(found, typed)
		}
	}
	require.Len(t, found, 1, "%T %s", *new(T), name)
	return found[0]
}

// container gives a pod's only container.
func container(t *testing.T, pod corev1.PodTemplateSpec) corev1.Container {
	t.Helper()
	require.Len(t, pod.Spec.Containers, 1)
	return pod.Spec.Containers[0]
}

func portNamed(t *testing.T, c corev1.Container, name string) string {
	t.Helper()
	for _, port := range c.Ports {
		if port.Name == name {
			return strconv.Itoa(int(port.ContainerPort))
		}
	}
	require.Fail(t, "no port", "%s of container %s", name, c.Name)
	return ""
}

// deployed gives the filter's container, and its configuration as the program itself reads it there.
func deployed(t *testing.T) (corev1.Container, *config) {
	t.Helper()
	c := container(t, manifest[*appsv1.Deployment](t, filterName).Spec.Template)
	env := map[string]string{}
	for _, variable := range c.Env {
		env[variable.Name] = variable.Value
	}
	cfg, err := parse(c.Args, environment(env), io.Discard)
	require.NoError(t, err)
	return c, cfg
}

func TestManifestsFitProgram(t *testing.T) {
	c, cfg := deployed(t)
	require.Equal(t, "inet:"+portNamed(t, c, "milter")+"@0.0.0.0", cfg.addr)
	require.Equal(t, ":"+portNamed(t, c, "http"), cfg.http)

	knows := (&config{}).flags()
	for _, variable := range c.Env {
		if name, ours := strings.CutPrefix(variable.Name, "GREYLIST_"); ours {
			name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
			require.NotNil(t, knows.Lookup(name), "the program has no %s", variable.Name)
		}
	}
}

func TestManifestsProbe(t *testing.T) {
	c, cfg := deployed(t)
	pages := (&program{cfg: cfg, metrics: newMetrics()}).handler()
	for name, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "readiness": c.ReadinessProbe, "liveness": c.LivenessProbe} {
		require.NotNil(t, probe, name)
		require.NotNil(t, probe.HTTPGet, "%s: a probe of the milter port is a session", name)
		require.Equal(t, intstr.FromString("http"), probe.HTTPGet.Port, name)
		answer := httptest.NewRecorder()
		pages.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, probe.HTTPGet.Path, nil))
		want := http.StatusServiceUnavailable // it does not serve yet
		if name == "liveness" {
			want = http.StatusOK
		}
		require.Equal(t, want, answer.Code, name)
	}
}

func TestManifestsDrain(t *testing.T) {
	c, cfg := deployed(t)
	spec := manifest[*appsv1.Deployment](t, filterName).Spec.Template.Spec
	preStop := time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	require.Positive(t, preStop, "the Service still sends mail when SIGTERM comes")
	grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second
	require.GreaterOrEqual(t, grace, preStop+cfg.drainDelay+cfg.drain+10*time.Second)
}

func TestManifestsStore(t *testing.T) {
	_, cfg := deployed(t)
	store, err := url.Parse(cfg.redis)
	require.NoError(t, err)
	client, err := newClient(cfg)
	require.NoError(t, err)
	require.NoError(t, client.Close())

	set := manifest[*appsv1.StatefulSet](t, redisName)
	require.Equal(t, redisName, set.Spec.ServiceName)
	service := manifest[*corev1.Service](t, store.Hostname())
	require.Equal(t, store.Port(), strconv.Itoa(int(service.Spec.Ports[0].Port)))
	redis := container(t, set.Spec.Template)
	require.Equal(t, "6379", portNamed(t, redis, service.Spec.Ports[0].TargetPort.StrVal), "what redis-server listens on")
	for _, mount := range redis.VolumeMounts {
		require.Equal(t, set.Spec.VolumeClaimTemplates[0].Name, mount.Name)
	}

	allowed := manifest[*networkingv1.NetworkPolicy](t, redisName).Spec
	require.True(t, selects(t, &allowed.PodSelector, set.Spec.Template))
	require.True(t, selects(t, allowed.Ingress[0].From[0].PodSelector, manifest[*appsv1.Deployment](t, filterName).Spec.Template))
	require.Equal(t, service.Spec.Ports[0].TargetPort.StrVal, allowed.Ingress[0].Ports[0].Port.StrVal)
}

func selects(t *testing.T, selector *metav1.LabelSelector, pod corev1.PodTemplateSpec) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	require.NoError(t, err)
	return !s.Empty() && s.Matches(labels.Set(pod.Labels))
}

func TestManifestsSelect(t *testing.T) {
	filter, redis := manifest[*appsv1.Deployment](t, filterName), manifest[*appsv1.StatefulSet](t, redisName)
	selectors := map[string]*metav1.LabelSelector{
		"Deployment":          filter.Spec.Selector,
		"PodDisruptionBudget": manifest[*policyv1.PodDisruptionBudget](t, filterName).Spec.Selector,
		"Service":             {MatchLabels: manifest[*corev1.Service](t, filterName).Spec.Selector},
	}
	for _, spread := range filter.Spec.Template.Spec.TopologySpreadConstraints {
		selectors["spread over "+spread.TopologyKey] = spread.LabelSelector
	}
	require.Len(t, selectors, 5)
	for name, selector := range selectors {
		require.True(t, selects(t, selector, filter.Spec.Template), name)
		require.False(t, selects(t, selector, redis.Spec.Template), "%s selects Redis", name)
	}
	require.True(t, selects(t, redis.Spec.Selector, redis.Spec.Template))
	require.True(t, selects(t, &metav1.LabelSelector{MatchLabels: manifest[*corev1.Service](t, redisName).Spec.Selector}, redis.Spec.Template))

	port := manifest[*corev1.Service](t, filterName).Spec.Ports[0]
	require.Equal(t, strconv.Itoa(int(port.Port)), portNamed(t, container(t, filter.Spec.Template), port.TargetPort.StrVal))
}

func TestManifestsScale(t *testing.T) {
	filter, scaler := manifest[*appsv1.Deployment](t, filterName), manifest[*autoscalingv2.HorizontalPodAutoscaler](t, filterName)
	require.Equal(t, autoscalingv2.CrossVersionObjectReference{APIVersion: filter.APIVersion, Kind: filter.Kind, Name: filter.Name}, scaler.Spec.ScaleTargetRef)
	require.Nil(t, filter.Spec.Replicas, "each deployment would undo what the autoscaler has done")
	require.GreaterOrEqual(t, *scaler.Spec.MinReplicas, int32(2))
	require.Greater(t, scaler.Spec.MaxReplicas, *scaler.Spec.MinReplicas)
	require.Contains(t, container(t, filter.Spec.Template).Resources.Requests, scaler.Spec.Metrics[0].Resource.Name, "what utilization is a part of")
	require.NotNil(t, manifest[*policyv1.PodDisruptionBudget](t, filterName).Spec.MaxUnavailable)
}

func TestManifestsHardening(t *testing.T) {
	for _, pod := range []corev1.PodTemplateSpec{
		manifest[*appsv1.Deployment](t, filterName).Spec.Template, manifest[*appsv1.StatefulSet](t, redisName).Spec.Template,
	} {
		require.True(t, *pod.Spec.SecurityContext.RunAsNonRoot)
		require.Positive(t, *pod.Spec.SecurityContext.RunAsUser, "a user by name cannot be seen not to be root")
		require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.Spec.SecurityContext.SeccompProfile.Type)
		require.False(t, *pod.Spec.AutomountServiceAccountToken)
		security := container(t, pod).SecurityContext
		require.True(t, *security.ReadOnlyRootFilesystem)
		require.False(t, *security.AllowPrivilegeEscalation)
		require.Equal(t, []corev1.Capability{"ALL"}, security.Capabilities.Drop)
		require.Contains(t, container(t, pod).Resources.Limits, corev1.ResourceMemory)
	}
}
