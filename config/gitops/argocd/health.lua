-- How healthy Argo CD calls Lockkeeper's kinds (Release, RollbackPolicy, DeploymentWindow). They speak through conditions with the
-- meaning that kstatus gives them; a Release has Ready, Reconciling and Stalled, the others have Ready alone.
local function says(status, message)
  return { status = status, message = message }
end

local status = obj.status
-- What is said of an older spec says nothing of this one.
local seen = status and status.observedGeneration
if not seen or (obj.metadata.generation and seen < obj.metadata.generation) then
  return says("Progressing", "Lockkeeper has not seen this spec yet")
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local function is(kind, value)
  return conditions[kind] ~= nil and conditions[kind].status == value
end

-- Only a change in Git, or a person, mends it.
if is("Stalled", "True") then
  return says("Degraded", conditions.Stalled.message)
end
if is("Reconciling", "True") then
  return says("Progressing", conditions.Reconciling.message)
end
-- It waits for people, a window or the end of a pause. The stable version serves.
if is("Ready", "True") and conditions.Ready.reason == "Waiting" then
  return says("Suspended", conditions.Ready.message)
end
if is("Ready", "True") then
  return says("Healthy", conditions.Ready.message)
end
if is("Ready", "False") then
  return says("Degraded", conditions.Ready.message)
end
return says("Progressing", "Lockkeeper has not said yet how it is")
